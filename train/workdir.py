"""A run's folder: one run in it at a time, and files that are replaced as a whole."""

import contextlib
import fcntl
import json
import os
import socket


@contextlib.contextmanager
def only_run_in(workdir):
    """Keeps other runs out of the folder as long as the context lasts; the system lets go of it when a process dies.

    Args:
      workdir: `pathlib.Path`, made if it is not there.

    Raises:
      ValueError: where another run is in it.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ValueError(
                f"workdir {workdir} is in use by another run ({file.read()}). Choose another --workdir, or wait"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def write_text(path, text):
    """Replaces the file as a whole."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text)
    os.replace(draft, path)


def write_json(path, value):
    """Replaces the file as a whole."""
    write_text(path, json.dumps(value, indent=2) + "\n")
