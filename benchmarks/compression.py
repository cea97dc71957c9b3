"""Compares the lossless compression by a run's model with PNG, WebP and JPEG XL, on the same test images.

  python -m benchmarks.compression --workdir=runs/cifar10_fast --data_dir=DIR

A row is a file for each image, as the formats are used, or one mosaic of all images, which shares their headers. Each
image is decoded again and compared. requirements-bench.txt lists the plugin for JPEG XL.
"""

import importlib.util
import pathlib

import numpy as np
from absl import app, flags

from benchmarks import coders, report
from train import data, models
from train.configs import default

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run whose model codes the images.", required=True)
_MODEL = flags.DEFINE_string("model", "model.keras", "File of the model in the workdir.")
_DATASET = flags.DEFINE_string("dataset", "cifar10", "TFDS's name of the data set.")
_SPLIT = flags.DEFINE_string("split", "test[:1000]", "Split of the data set.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TFDS's data sets; default: TFDS's own.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 100, "Images that the model codes together.", lower_bound=1)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; every setting is a flag, such as --split=test")
    if importlib.util.find_spec("pillow_jxl") is None:
        raise SystemExit("error: JPEG XL needs pillow-jxl-plugin: `make .venv/installed-bench` installs it")
    importlib.import_module("pillow_jxl")  # It registers its format with Pillow.
    config = default.get_config()
    config.dataset = _DATASET.value
    workdir = pathlib.Path(_WORKDIR.value)
    model, examples = models.load_model_and_examples(config, workdir, _MODEL.value, _SPLIT.value, _DATA_DIR.value)
    images = np.concatenate(list(data.evaluation_batches(examples, 1000)))
    rows = coders.compared(model, images, _BATCH_SIZE.value, coders.FORMATS)
    print(f"{len(images)} images of {_DATASET.value}, {_SPLIT.value}", *report.table(rows), sep="\n")


if __name__ == "__main__":
    app.run(main)
