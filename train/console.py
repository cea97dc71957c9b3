"""The console command `tfp-realnvp` of the installed package, and Bazel's program: both run `main`."""

import runpy
import sys


def run_program(package: str | None = __package__) -> None:
    """Runs `main` as `python -m` does.

    Args:
      package: the name under which this package is imported.
    """
    runpy.run_module(f"{package}.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":  # Bazel runs this file by itself.
    sys.path.pop(0)  # The folder train/, where train.py would hide the package.
    run_program("train")
