"""Programs in separate processes, all forked from one process that has imported TensorFlow."""

import multiprocessing
import os
import pathlib
import runpy
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # as train/main.py does
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    # Only libraries without computations on import, so that TensorFlow starts anew in each fork.
    ["matplotlib.figure", "ml_collections", "sklearn.datasets", "tensorflow_datasets", "tfp_realnvp"]
)


class Program:
    """A running program, with the methods of a `subprocess.Popen` with output and errors in one pipe.

    Args:
      arguments: strings, Python's own: `["-m", "module", ...]` or `["file.py", ...]`.
      **environment: strings, the variables to change in the environment of this process.
    """

    def __init__(self, arguments, **environment):
        handle, self._output = tempfile.mkstemp()
        os.close(handle)
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **environment}
        self._process = FORKS.Process(target=_run, args=(arguments, environment, self._output), daemon=True)
        self._process.start()

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self._process.pid, number)

    def communicate(self, timeout=None):
        """Waits for the end, once, and returns the output and None.

        Raises:
          TimeoutError: if the program runs longer; it is not ended.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f"the program must end within {timeout} seconds; its output is in {self._output}")
        output = pathlib.Path(self._output).read_text()
        os.remove(self._output)
        return output, None


def _run(arguments, environment, output):
    """Becomes the program, in a fork."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    tempfile.tempdir = None  # The environment names another one.
    handle = os.open(output, os.O_WRONLY)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    is_module = arguments[0] == "-m"
    sys.argv = arguments[is_module:]
    (runpy.run_module if is_module else runpy.run_path)(sys.argv[0], run_name="__main__")
