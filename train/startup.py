"""TensorFlow's remarks at its start, which are no errors, kept out of the terminal."""

import contextlib
import os
import subprocess
from collections.abc import Iterator

# Its libraries write these at their import, before they read TF_CPP_MIN_LOG_LEVEL, or as errors.
REMARKS = (
    "^WARNING: All log messages before absl::InitializeLog",
    "^I0000 ",
    r"^E0000 .*Failed call to cuInit: UNKNOWN ERROR \(303\)",  # 303: there is no NVIDIA driver.
)


@contextlib.contextmanager
def without_remarks() -> Iterator[None]:
    """Standard error without TensorFlow's remarks. All other lines pass, also those of a process that crashes.

    Example: `with without_remarks(): import tensorflow`
    """
    patterns = [f"--regexp={remark}" for remark in REMARKS]
    command = ["grep", "--extended-regexp", "--invert-match", "--line-buffered", "--text", *patterns]
    terminal = os.dup(2)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=terminal) as grep:
        assert grep.stdin
        os.dup2(grep.stdin.fileno(), 2)
        grep.stdin.close()  # So the end of the scope is the end of the input, and grep ends.
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
