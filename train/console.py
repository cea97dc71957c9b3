"""The console command `tfp-realnvp` of the installed package, and Bazel's program: both run `main`."""

import runpy


def run_program() -> None:
    """Runs `main` as `python -m` does."""
    package = __package__ or "train"  # Bazel runs this file by itself, and the package is `train` there.
    runpy.run_module(f"{package}.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run_program()
