"""Runs of the command line, each in its own process, that are terminated, killed and repeated."""

import signal

import pytest

from tests.train import kills, processes

pytestmark = pytest.mark.long

RUN = [
    "-m",
    "train.main",
    "--config=train/configs/moons.py",
    "--config.epochs=4",
    "--config.steps_per_epoch=20",
    "--config.test_split=test[:100]",
    "--config.model.num_scales=1",
    "--config.model.filters=4",
    "--config.model.num_blocks=1",
    "--config.checkpoint.steps=3",
    "--noreport",
]


def start(workdir):
    return processes.Program([*RUN, f"--workdir={workdir}"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that is terminated, interrupted, killed and repeated, and a second run in its workdir meanwhile."""
    folder = tmp_path_factory.mktemp("runs")
    undisturbed, disturbed, done = folder / "undisturbed", folder / "disturbed", {}
    process = start(disturbed)
    kills.wait_for_a_checkpoint(disturbed, process, "")
    process.send_signal(signal.SIGSTOP)  # It keeps its workdir until SIGCONT.
    done["second"] = kills.finish(start(disturbed))
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    done["terminated"] = kills.finish(process)
    done["saved"] = kills.newest(disturbed)
    process = start(disturbed)
    kills.wait_for_a_checkpoint(disturbed, process, done["saved"])
    process.send_signal(signal.SIGINT)
    done["interrupted"] = kills.finish(process)
    done["saved again"] = kills.newest(disturbed)
    process, other = start(disturbed), start(undisturbed)
    kills.wait_for_a_checkpoint(disturbed, process, done["saved again"])
    process.send_signal(signal.SIGKILL)
    done["killed"] = kills.finish(process)
    done["undisturbed"] = kills.finish(other)
    done["last"] = kills.finish(start(disturbed))
    return disturbed, undisturbed, done


def test_a_second_run_in_the_workdir_is_refused(runs):
    disturbed, _, done = runs
    code, out = done["second"]
    assert code == 1 and "Traceback" not in out
    assert f"error: workdir {disturbed} is in use by another run (process " in out


@pytest.mark.parametrize(
    ("end", "saved", "expected"), [("terminated", "saved", 0), ("interrupted", "saved again", 130)]
)
def test_sigterm_and_sigint_end_a_run_well(end, saved, expected, runs):
    _, _, done = runs
    code, out = done[end]
    assert code == expected and "Traceback" not in out, out
    step = int(done[saved].removeprefix("step_").removesuffix(".keras"))
    assert f"terminated; saved is step {step}: the same command goes on from there" in out


def test_a_run_that_was_terminated_and_killed_ends_as_one_that_was_not(runs):
    disturbed, undisturbed, done = runs
    assert (done["killed"][0], done["undisturbed"][0], done["last"][0]) == (-signal.SIGKILL, 0, 0), done
    assert "going on from step" in done["last"][1] and "going on from step" not in done["undisturbed"][1]
    assert kills.differences(disturbed, undisturbed) == []


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
