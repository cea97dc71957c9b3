"""Puts the model of a finished run among the pretrained models of the package, with its card.

  python -m train.main --config=train/configs/digits_exact.py
  python -m train.add_pretrained digits --workdir=runs/digits_exact

The workdir must hold a run of the config that belongs to the name, as it is in this repository.
"""

import argparse
import hashlib
import importlib
import io
import json
import os
import pathlib
import tempfile
import zipfile
from typing import Any

import h5py
import ml_collections
import numpy as np

from tfp_realnvp.model_zoo import WEIGHTS

from . import evaluate, models
from .data import toy
from .runs.metrics import read_metrics, training_seconds
from .runs.workdir import check_same_config, new_file, read_json, write_json

LARGEST_CHANGE = 1e-3  # of bits/dim by the rounding of the weights
SOURCES = {  # name ↦ (config, data, license of the data)
    "digits": (
        "digits_exact",
        "Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI, 1998), as in scikit-learn",
        "CC BY 4.0",
    ),
    "moons": ("moons", "points of scikit-learn's make_moons", "none needed: the points are computed"),
    "mnist": ("mnist_fast", "MNIST (LeCun and Cortes, 1998)", "CC BY-SA 3.0"),
    "fashion_mnist": ("fashion_mnist_fast", "Fashion-MNIST (Zalando, 2017)", "MIT"),
    "cifar10": (
        "cifar10_fast",
        "CIFAR-10 (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009)",
        "none stated; the authors ask for a citation of the report",
    ),
}


def add_model(
    name: str, workdir: pathlib.Path, data_dir: str | os.PathLike | None = None, folder: pathlib.Path = WEIGHTS
) -> dict[str, Any]:
    """Writes NAME.keras, the workdir's model without its optimizer, and its card NAME.json.

    The weights are rounded to float16, unless this changes the bits/dim of the test split by more than 0.001.

    Args:
      name: one of `SOURCES`.
      workdir: the folder of a finished run.
      data_dir: see `data.load`.
      folder: of the two files.

    Returns:
      The card, see `rnvp.model_card`.

    Raises:
      ValueError: if the workdir holds no model, or the run of another config than the name's.

    Example: `add_model("digits", pathlib.Path("runs/digits_exact"))`
    """
    file, data, license = SOURCES[name]
    config = importlib.import_module(f".configs.{file}", __package__).get_config()
    trained = models.load_model(config, workdir, "model.keras", data_dir)
    read_json(workdir / "config.json")  # It must be there.
    check_same_config(config, workdir)
    result, lines = read_json(workdir / "result.json"), read_metrics(workdir)
    model = type(trained).from_config(trained.get_config())  # without the optimizer
    model.set_weights(trained.get_weights())
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "model.keras"
        model.save(path)
        whole = path.read_bytes()
    content, weights = _in_float16(whole), "float16"
    evaluation = _evaluate(content, config, data_dir)
    if not abs(evaluation["bits_per_dim"] - result["bits_per_dim"]) <= LARGEST_CHANGE:
        content, weights = whole, "float32"
        evaluation = _evaluate(content, config, data_dir)
    option = "" if config.dataset in toy.SETS else " --data_dir=DIR"
    card = {
        "data": data,
        "license": license,
        "config": f"{file}.py",
        "command": f"python -m train.main --config=train/configs/{file}.py{option}",
        "steps": lines[-1]["step"],
        "seconds": round(training_seconds(lines, config.batch_size)),
        "seed": config.seed,
        **{key: evaluation[key] for key in ("bits_per_dim", "standard_error", "split", "num_examples")},
        "weights": weights,
        "bits_per_dim_before_rounding": result["bits_per_dim"],
        "versions": evaluation["versions"],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    with new_file(folder / f"{name}.keras") as opened:
        opened.write(content)
    write_json(folder / f"{name}.json", card)
    return card


def _in_float16(content: bytes) -> bytes:
    """The bytes of a .keras file with its float32 weights in float16. Keras reads them into float32 variables."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            part = source.read(name)
            target.writestr(name, _rounded(part) if name.endswith(".h5") else part)
    return file.getvalue()


def _rounded(content: bytes) -> bytes:
    """The bytes of an HDF5 file with its float32 arrays in float16."""
    file = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as source, h5py.File(file, "w") as target:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                target.require_group(name).attrs.update(item.attrs)
            else:
                values = item[()]
                target[name] = values.astype(np.float16) if values.dtype == np.float32 else values

        source.visititems(copy)
    return file.getvalue()


def _evaluate(content: bytes, config: ml_collections.ConfigDict, data_dir: str | os.PathLike | None) -> dict[str, Any]:
    """The result of `evaluate.write_result` for the bytes of a .keras file."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / "model.keras").write_bytes(content)
        model, test = models.load_model_and_examples(config, path, "model.keras", config.test_split, data_dir)
        return evaluate.write_result(model, test, config, path, "model.keras")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SOURCES)
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="folder of the finished run")
    parser.add_argument("--data_dir", help="folder of the TFDS data sets")
    options = parser.parse_args()
    print(json.dumps(add_model(options.name, options.workdir, options.data_dir), indent=2))


if __name__ == "__main__":
    main()
