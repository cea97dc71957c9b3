"""A few of the random configurations of `python -m tests.configurations`, and what they are drawn from."""

import pytest

from tests import configurations


def params():
    """A few numbers, of one scale or of vectors: quickly built."""
    for number in range(6, 12):
        configuration = configurations.draw(seed=0, number=number)
        yield pytest.param(configuration, id=str(number), marks=pytest.mark.dtype(configuration["dtype"]))


@pytest.mark.parametrize("configuration", list(params()))
def test_a_random_configuration_obeys_the_laws(configuration, eagerly):
    configurations.try_laws(configuration)


def test_a_configuration_follows_from_its_seed_and_number():
    drawn = [configurations.draw(seed, number) for seed in (0, 1) for number in range(50)]
    assert drawn == [configurations.draw(seed, number) for seed in (0, 1) for number in range(50)]
    assert len({str(configuration) for configuration in drawn}) == 100


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
