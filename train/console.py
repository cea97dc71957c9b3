"""The console command `tfp-realnvp` of the installed package: it runs `main` as a program."""

import runpy


def run_program() -> None:
    """Runs `main` as `python -m` does."""
    runpy.run_module(f"{__package__}.main", run_name="__main__", alter_sys=True)
