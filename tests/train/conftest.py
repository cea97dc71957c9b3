"""Fixtures of more than one file on runs."""

import ml_collections
import pytest

from tests.train.tiny_runs import Plain, run_to_the_end, tiny
from tfp_realnvp import architectures


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A finished run, for reading only: a test that changes files copies them first."""
    return run_to_the_end(tiny(), tmp_path_factory.mktemp("runs"))


@pytest.fixture
def plain(monkeypatch):
    """The config of a run of `Plain`."""
    monkeypatch.setattr(architectures, "Plain", Plain, raising=False)
    monkeypatch.setattr(architectures, "__all__", [*architectures.__all__, "Plain"])
    config = tiny(architecture="Plain")
    config.model = ml_collections.ConfigDict({"width": 3})
    return config
