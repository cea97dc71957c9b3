"""Compares the completion of test images by a run's model with a Gaussian's conditional mean and biharmonic filling.

  python -m benchmarks.completion --workdir=runs/fashion_mnist_fast --data_dir=DIR --task=refine
  python -m benchmarks.completion --workdir=runs/digits --dataset=digits --split=test --task=bottom

The tasks hide the pixels between those of the image at half its size (a SubpixelFlow draws them without chains), the
lower half, the middle quarter, or half of the pixels at random. The peak signal-to-noise ratio is of the hidden pixels
of all images. requirements-bench.txt lists scikit-image, which fills by the biharmonic equation.
"""

import importlib.util
import pathlib

from absl import app, flags

from benchmarks import fillings, report
from train import data, draw, models
from train.configs import default

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run whose model completes images.", required=True)
_MODEL = flags.DEFINE_string("model", "model.keras", "File of the model in the workdir.")
_DATASET = flags.DEFINE_string("dataset", "fashion_mnist", "Name of the data set, as config.dataset.")
_SPLIT = flags.DEFINE_string("split", "test[:100]", "Split of the images.")
_NUM_DRAWN = flags.DEFINE_integer(
    "num_drawn",
    0,
    "Images that the model draws, in place of the split's. The 90% interval holds 90% of their pixels.",
    lower_bound=0,
)
_TRAIN_SPLIT = flags.DEFINE_string("train_split", "train", "Split for the moments of the Gaussian.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TFDS's data sets; default: TFDS's own.")
_TASK = flags.DEFINE_enum("task", "refine", ("refine", "bottom", "box", "random"), "The hidden pixels.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 100, "Draws of each image, or of each chain.", lower_bound=4)
_NUM_CHAINS = flags.DEFINE_integer("num_chains", 4, "Chains of each image.", lower_bound=1)
_BURN_IN = flags.DEFINE_integer("burn_in", 100, "Iterations of each chain before its draws.", lower_bound=20)
_MAX_LEAPFROGS = flags.DEFINE_integer(
    "max_leapfrogs", None, "The largest number of gradients per iteration, as of completion.sample.", lower_bound=1
)
_NUM_PARTICLES = flags.DEFINE_integer(
    "num_particles", None, "Particles of each chain, as of completion.sample.", lower_bound=2
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "Images whose chains move together, as of completion.sample.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; every setting is a flag, such as --split=test")
    if importlib.util.find_spec("skimage") is None:
        raise SystemExit("error: scikit-image is missing: `make .venv/installed-bench` installs it")
    config = default.get_config()
    config.dataset = _DATASET.value
    workdir = pathlib.Path(_WORKDIR.value)
    model, examples = models.load_model_and_examples(config, workdir, _MODEL.value, _SPLIT.value, _DATA_DIR.value)
    if _NUM_DRAWN.value:
        images = model.sample(_NUM_DRAWN.value, seed=_SEED.value)
    else:
        images = draw.first_images(examples, examples.size)
    training = draw.first_images(data.load(config, _TRAIN_SPLIT.value, _DATA_DIR.value), 60_000)
    known = fillings.known_pixels(_TASK.value, model.event_shape)
    options = dict(
        num_chains=_NUM_CHAINS.value,
        burn_in=_BURN_IN.value,
        max_leapfrogs=_MAX_LEAPFROGS.value,
        num_particles=_NUM_PARTICLES.value,
        batch_size=_BATCH_SIZE.value,
        seed=_SEED.value,
    )
    drawn = lambda: fillings.drawn(model, _TASK.value, images, known, _NUM_SAMPLES.value, **options)
    rows = fillings.compared(model, images, training, known, drawn)
    print(
        f"{len(images)} images of {'the model' if _NUM_DRAWN.value else f'{_DATASET.value}, {_SPLIT.value}'}, "
        f"task {_TASK.value}",
        *report.table(rows),
        sep="\n",
    )


if __name__ == "__main__":
    app.run(main)
