"""Threads that share a flow: a short soak.py, which is about all flows and takes minutes."""

import pytest

from tests.train.processes import Program

pytestmark = pytest.mark.long


def test_every_thread_gets_the_answers_of_one_alone():
    # A failure of the kind that is tested ends the process.
    arguments = ["-m", "tests.soak", "--seconds=4", "--flows=^RealNVP, classes$"]
    process = Program(arguments, TF_NUM_INTRAOP_THREADS="2", TF_NUM_INTEROP_THREADS="8")
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "0 unsafe fusions" in output and " 0 wrong" in output, output


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
