"""The `.keras` files of flows: which format they have, and errors that say what is wrong with one."""

import pathlib
import warnings
import zipfile

import keras

from tfp_realnvp.model import FlowModel

FORMAT_VERSION = 2  # to be raised when older versions of this package cannot read what this one saves


def checked_config(config, oldest=1):
    """A flow's config without its `format_version`.

    Args:
      config: dictionary.
      oldest: int, the first format that this version of the package reads of such a flow.

    Raises:
      ValueError: for a newer format than this version of the package reads, or an older one.
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
            "tfp_realnvp, whose networks held their weights otherwise: that version can read it, or train it anew"
        )
    return config


def load_model(filepath):
    """A flow from a `.keras` file: Keras's `load_model` in its `safe_mode`, with errors that say what is wrong.

    The file is data: it names registered classes, and brings their arguments and weights. Nothing in it is run.

    Args:
      filepath: path of a file that `FlowModel.save` wrote.

    Returns:
      The `FlowModel`, compiled if it was.

    Raises:
      ValueError: for a file that is not there, truncated, damaged, of a newer format, without some of its weights, or
        with anything but registered classes in it.
      OSError: for a file that may not, or cannot, be read.

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
    except Exception as error:  # whatever the bytes made zipfile do
        raise ValueError(f"{path} is truncated, or no .keras file ({error})") from error
    if damaged:
        raise ValueError(f"{path} is damaged: the checksum of its {damaged} is wrong")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Skipping variable loading for optimizer")  # Keras goes on without its state
        try:
            model = keras.saving.load_model(path, safe_mode=True)
        except (KeyError, OSError, TypeError, ValueError, UserWarning) as error:
            raise ValueError(f"{path} could not be loaded: {error}") from error
    if not isinstance(model, FlowModel):
        raise ValueError(f"{path} must hold a flow; got a {type(model).__name__}")
    return model
