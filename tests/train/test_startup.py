"""TensorFlow's remarks do not reach the terminal, and everything else does."""

import os
import pathlib
import subprocess
import sys

import pytest

from train import startup

ROOT = pathlib.Path(startup.__file__).parents[1]
LINES = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1796053465.285901   17884 port.cc:153] oneDNN custom operations are on.
E0000 00:00:1796053472.999904   17884 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call to \
cuInit: UNKNOWN ERROR (303)
"""
ERROR = "E0000 00:00:1796053472.999904   17884 cuda_platform.cc:52] failed call to cuInit: CUDA_ERROR_NO_DEVICE\n"


def test_remarks_are_hidden_and_errors_are_shown(capfd):
    with startup.without_remarks():
        os.write(2, (LINES + ERROR + "a line of the user's\n").encode())
    os.write(2, b"I0000 after the start\n")
    assert capfd.readouterr().err == ERROR + "a line of the user's\nI0000 after the start\n"


def test_an_exception_passes(capfd):
    with pytest.raises(ImportError, match="broken"), startup.without_remarks():
        os.write(2, ERROR.encode())
        raise ImportError("broken")
    assert capfd.readouterr().err == ERROR


def test_the_last_words_of_a_crash_are_shown():
    crash = "with startup.without_remarks(): os.write(2, b'F0000 no AVX'); os.abort()"
    command = [sys.executable, "-c", f"import os; from train import startup\n{crash}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode < 0 and "F0000 no AVX" in done.stderr


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
