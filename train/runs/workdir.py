"""The folder of a run: it belongs to one config and one run at a time, and its files are replaced as a whole."""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import ml_collections

from ..configs import default


@contextlib.contextmanager
def only_run_in(workdir: pathlib.Path) -> Iterator[None]:
    """Keeps other runs out of the folder while the context lasts; the system frees it when the process dies.

    Args:
      workdir: the folder, made if it is missing.

    Raises:
      ValueError: if another run is in it.
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


def check_workdir(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Raises a ValueError if the workdir is no folder, or holds the run of another config."""
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"workdir must be a folder; got the file {workdir}")
    if (workdir / "model.keras").exists() and not any(workdir.glob("checkpoints/step_*.keras")):
        raise ValueError(
            f"workdir {workdir} holds the model of a finished run, whose checkpoints are gone: training would begin "
            "anew and replace it. Choose another --workdir"
        )
    path = workdir / "config.json"
    if not path.exists():
        return
    # A run of an earlier version does not name the fields that are new; it had their defaults.
    before = json.loads(default.get_config().to_json_best_effort())
    there, here = {**before, **json.loads(path.read_text())}, json.loads(config.to_json_best_effort())
    differences = [
        f"{name} = {there.get(name)} there, {here.get(name)} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    if differences:
        raise ValueError(
            f"workdir {workdir} holds the run of another config ({'; '.join(differences)}). Choose another --workdir"
        )


def write_text(path: pathlib.Path, text: str) -> None:
    """Replaces the file as a whole."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text)
    os.replace(draft, path)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Replaces the file as a whole."""
    write_text(path, json.dumps(value, indent=2) + "\n")
