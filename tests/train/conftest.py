"""Fixtures of more than one file on runs."""

import fcntl
import os
import pickle

import ml_collections
import pytest

from tests.train.tiny_runs import Plain, run_to_the_end, tiny
from tfp_realnvp import architectures


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A finished run, for reading only: a test that changes files copies them first. A session's processes share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "run"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = folder / "run.pickle"
        if not kept.exists():
            kept.write_bytes(pickle.dumps(run_to_the_end(tiny(), folder)))
        return pickle.loads(kept.read_bytes())


@pytest.fixture
def plain(monkeypatch):
    """The config of a run of `Plain`."""
    monkeypatch.setattr(architectures, "Plain", Plain, raising=False)
    monkeypatch.setattr(architectures, "__all__", [*architectures.__all__, "Plain"])
    config = tiny(architecture="Plain")
    config.model = ml_collections.ConfigDict({"width": 3})
    return config
