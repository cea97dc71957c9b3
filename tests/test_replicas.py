"""Several replicas on one machine do what one device does with the same global batches: the checks of replicas.py."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def exit_codes():
    """Check ↦ the exit code of its process."""
    done = subprocess.run([sys.executable, "-m", "tests.replicas"], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("flow", "replicas"), [("vector", 4), ("glow", 2), ("continuous", 2)])
def test_replicas_train_like_one_device(exit_codes, flow, replicas):
    assert exit_codes[f"{flow}, {replicas}"] == 0


@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_train_real_nvp_with_batch_norm_like_one_device(exit_codes, replicas):
    assert exit_codes[f"real_nvp, {replicas}"] == 0


def test_replicas_weigh_examples_like_one_device(exit_codes):
    assert exit_codes["weights, 2"] == 0


def test_replicas_train_on_unlabelled_examples_like_one_device(exit_codes):
    """The shares of the replicas have different numbers of examples without a label."""
    assert exit_codes["labels, 2"] == 0


def test_replicas_train_by_muon_like_one_device(exit_codes):
    assert exit_codes["muon, 2"] == 0


def test_replicas_train_by_the_energy_like_one_device(exit_codes):
    assert exit_codes["energy, 2"] == 0


def test_what_does_not_go_with_replicas_is_refused(exit_codes):
    assert exit_codes["refusals"] == 0


def test_one_pass_initializes_all_replicas(exit_codes):
    assert exit_codes["act_norm"] == 0


def test_replicas_agree_to_skip_a_step(exit_codes):
    assert exit_codes["skipped step"] == 0


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
