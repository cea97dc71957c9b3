"""Several replicas on one machine do what one device does with the same global batches: the checks of replicas.py."""

import functools
import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.long


@functools.cache
def failures(replicas):
    """Check ↦ why it failed, or None."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.replicas", str(replicas)], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("flow", "replicas"), [("vector", 4), ("glow", 2)])
def test_replicas_train_like_one_device(flow, replicas):
    assert failures(replicas)[flow] is None


@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_train_real_nvp_with_batch_norm_like_one_device(replicas):
    assert failures(replicas)["real_nvp"] is None


def test_what_does_not_go_with_replicas_is_refused():
    assert failures(2)["refusals"] is None


def test_one_pass_initializes_all_replicas():
    assert failures(2)["act_norm"] is None


def test_replicas_agree_to_skip_a_step():
    assert failures(2)["skipped step"] is None


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
