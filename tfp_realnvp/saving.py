"""The `.keras` files of flows: the version of their format, and loading with errors that name the fault of a file."""

import pathlib
import warnings
import zipfile
from typing import Any

import keras

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


def load_model(filepath: Any) -> FlowModel:
    """Loads a flow from a `.keras` file by Keras's `load_model` in its `safe_mode`; errors name the fault of the file.

    The file holds data only: names of registered classes, their arguments and weights. Loading runs no code from it.

    Args:
      filepath: path of a file that `FlowModel.save` wrote.

    Returns:
      The `FlowModel`, compiled if the saved one was.

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
            damaged = archive.testzip()
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
            model = keras.saving.load_model(path, safe_mode=True)
        except (KeyError, OSError, TypeError, ValueError, UserWarning) as error:
            raise ValueError(f"{path} could not be loaded: {error}") from error
    if not isinstance(model, FlowModel):
        raise ValueError(f"{path} must hold a flow; got a {type(model).__name__}")
    return model
