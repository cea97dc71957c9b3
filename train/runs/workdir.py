"""The folder of a run: it belongs to one config and one run at a time, and its files are replaced as a whole."""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import IO, Any

import ml_collections

from tfp_realnvp.common import file_errors, replacing

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
    path = workdir / "lock"
    with open(path, "ab+", buffering=0, opener=_open_no_link) as file:
        with file_errors(path):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise ValueError(
                    f"workdir {workdir} is in use by another run ({file.read().decode()}). Choose another --workdir, "
                    "or wait"
                ) from error
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def check_workdir(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Raises a ValueError if the workdir is no folder, or holds the run of another config."""
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"workdir must be a folder; got the file {workdir}")
    if (workdir / "model.keras").exists() and not any(workdir.glob("checkpoints/step_*.keras")):
        raise ValueError(
            f"workdir {workdir} holds the model of a finished run, whose checkpoints are gone: training would begin "
            "anew and replace it. Choose another --workdir"
        )
    check_same_config(config, workdir)


def check_same_config(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Raises a ValueError if the workdir holds the run of another config."""
    path = workdir / "config.json"
    if not path.exists():
        return
    # A run of an earlier version does not name the fields that are new; it had their defaults.
    before = json.loads(default.get_config().to_json_best_effort())
    there, here = {**before, **read_json(path)}, json.loads(config.to_json_best_effort())
    differences = list(_differences(there, here))
    if differences:
        raise ValueError(
            f"workdir {workdir} holds the run of another config ({'; '.join(differences)}). Choose another --workdir, "
            "or give the run's --config"
        )


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The fields that differ, as `name = value there, value here`; one of a dictionary has its name in front."""
    for name in sorted({*there, *here}):
        one, other = there.get(name), here.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differences(one, other, f"{prefix}{name}.")
        elif one != other:
            yield f"{prefix}{name} = {one} there, {other} here"


@contextlib.contextmanager
def new_file(path: pathlib.Path) -> Iterator[IO[bytes]]:
    """A new file that replaces the one of this path at the end, as a whole; none is left after an error.

    Args:
      path: of the file; its folder is made if it is missing.

    Raises:
      OSError: if it cannot be written, such as on a full disk.
    """
    with file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft, draft.open("xb") as file:
        yield file


def write_text(path: pathlib.Path, text: str) -> None:
    """Replaces the file as a whole."""
    with new_file(path) as file:
        file.write(text.encode())


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The dictionary that a file holds.

    Raises:
      ValueError: if it is damaged, or no regular file.
    """
    if not path.is_file():  # Reading may wait forever.
        raise ValueError(f"{path} must be a regular file, or a link to one")
    try:
        value = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): bring it back from a copy") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged (it must hold an object; got {value!r}): bring it back from a copy")
    return value


def write_json(path: pathlib.Path, value: Any) -> None:
    """Replaces the file as a whole."""
    write_text(path, json.dumps(value, indent=2) + "\n")
