"""The mutants of mutants.py fit the code. The script itself runs their tests, which takes minutes."""

import pathlib

import pytest

from tests.mutants import MUTANTS

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_finds_its_code_once(mutant):
    assert (ROOT / mutant.path).read_text().count(mutant.code) == 1


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
