"""A few of the random configurations of `python -m tests.configurations`, and what they are drawn from."""

import pytest

from tests import configurations


@pytest.mark.parametrize("number", range(6, 12))  # of one scale, or of vectors: quickly built
def test_a_random_configuration_obeys_the_laws(number, eagerly):
    configurations.try_laws(configurations.draw(seed=0, number=number))


def test_a_configuration_follows_from_its_seed_and_number():
    drawn = [configurations.draw(seed, number) for seed in (0, 1) for number in range(50)]
    assert drawn == [configurations.draw(seed, number) for seed in (0, 1) for number in range(50)]
    assert len({str(configuration) for configuration in drawn}) == 100


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
