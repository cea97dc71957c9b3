"""The `.keras` files of flows: the version of their format, and loading with errors that name the fault of a file."""

import json
import pathlib
import re
import warnings
import zipfile
from typing import Any

import keras

from tfp_realnvp.internals import limited_variables
from tfp_realnvp.model import FlowModel

FORMAT_VERSION = 2  # To be raised when older versions of this package cannot read new files.


def checked_config(config: dict[str, Any], oldest: int = 1) -> dict[str, Any]:
    """Checks the `format_version` of a flow's config and returns the config without it.

    Args:
      config: dictionary.
      oldest: int, the oldest format of this family that this version of the package reads.

    Raises:
      ValueError: for a format that this version of the package does not read, newer or older.

    Example: `cls(**checked_config(config))` in a family's `from_config`.
    """
    config = dict(config)
    version = config.pop("format_version", 1)
    if version > FORMAT_VERSION:
        raise ValueError(
            f"format_version must be at most {FORMAT_VERSION}; got {version}. The flow was saved by a newer version of "
            "tfp_realnvp: update this one"
        )
    if version < oldest:
        raise ValueError(
            f"format_version must be at least {oldest}; got {version}. The flow was saved by an older version of "
            "tfp_realnvp with another layout of the weights: load it with that version, or train it anew"
        )
    return config


def load_model(filepath: Any, compile: bool = True) -> FlowModel:
    """Loads a flow from a `.keras` file by Keras's `load_model` in its `safe_mode`; errors name the fault of the file.

    The file holds data only: names of registered classes, their arguments and weights. Loading runs no code from it.

    Args:
      filepath: path of a file that `FlowModel.save` wrote.
      compile: whether to load the optimizer too, as Keras does. Without it the file loads in about 0.7 of the time; the
        model then scores and draws, but `fit` and `evaluate` need a `compile` first.

    Returns:
      The `FlowModel`, compiled if the saved one was and `compile` is true.

    Raises:
      ValueError: for a file that is missing, truncated or damaged, has a newer format, lacks some of its weights, or
        holds anything but registered classes.
      OSError: for a file that cannot be read, or without the permission to read it.

    Example: `model = rnvp.load_model("flow.keras")`
    """
    path = pathlib.Path(filepath)
    if not path.is_file():
        raise ValueError(f"filepath must be a .keras file; there is no file {str(path)!r}")
    try:
        with zipfile.ZipFile(path) as archive:
            num_bytes = sum(_checked_size(member) for member in archive.infolist())
            damaged = archive.testzip()
            config = json.loads(archive.read("config.json")) if "config.json" in archive.namelist() else None
    except OSError:
        raise
    except Exception as error:  # Damaged bytes can raise any exception in zipfile.
        raise ValueError(f"{path} is truncated, or no .keras file ({error})") from error
    if damaged:
        raise ValueError(f"{path} is damaged: the checksum of its {damaged} is wrong")
    with warnings.catch_warnings():
        # Keras only warns of an optimizer's state that does not fit, and goes on without it.
        warnings.filterwarnings("error", "Skipping variable loading for optimizer")
        try:
            _check_sizes("config", config, num_bytes)
            # Weights of a file may be in float16. The rest is for what is made and not saved.
            with limited_variables(2 * num_bytes + 2**20):
                model = keras.saving.load_model(path, compile=compile, safe_mode=True)
        except Exception as error:  # A config of other types can raise any exception in Keras and in a flow.
            raise ValueError(f"{path} could not be loaded: {error}") from error
    if not isinstance(model, FlowModel):
        raise ValueError(f"{path} must hold a flow; got a {type(model).__name__}")
    return model


def _checked_size(member: zipfile.ZipInfo) -> int:
    """The size of a part of the file in bytes."""
    if member.file_size > 100 * max(member.compress_size, 2**20):
        raise ValueError(f"its {member.filename} of {member.file_size} bytes is packed into {member.compress_size}")
    return member.file_size


def _check_sizes(name: str, value: Any, num_bytes: int) -> None:
    """Refuses numbers in a config that no flow with so few bytes of weights has, before it is built."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key not in ("seed", "num_bins", "compile_config", "shared_object_id"):
                _check_sizes(key, part, num_bytes)
        return
    is_list = isinstance(value, list)
    counts_layers = is_list or re.match("num_(?!classes)|.*steps|.*scales", name)
    limit = max(2**8, num_bytes // 100) if counts_layers else max(2**12, num_bytes)  # A layer takes hundreds of bytes.
    size = len(value) if is_list else value
    if isinstance(size, int) and size > limit:
        raise ValueError(f"{name} must fit the {num_bytes} bytes of the file, and be at most {limit}; got {size}")
    if is_list:
        for part in value:
            _check_sizes(f"an entry of {name}", part, num_bytes)
        if name == "event_shape" and value and isinstance(value[-1], int) and value[-1] ** 2 > max(2**16, num_bytes):
            raise ValueError(f"{name} must fit the {num_bytes} bytes of the file; got {value}")
