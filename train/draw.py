"""The pictures of a run's model: its samples, and the figures of the paper."""

import itertools
import os
import pathlib

import ml_collections
import numpy as np

import tfp_realnvp as rnvp

from . import checks, data, models
from .figures import continuous, paper, pictures
from .runs.checkpoints import step_of
from .runs.workdir import new_file


def draw_samples(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None = None,
    model_file: str = "model.keras",
    num_samples: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
) -> None:
    """Draws a picture of up to 64 samples from the workdir's model; `num_samples` also writes them all to an .npy file.

    For a model that is conditioned on labels there is a second picture, with a row per class.

    Raises:
      ValueError: if the workdir holds no model, or if `num_samples` is given for a model conditioned on vectors.
    """
    model = models.load_model(checks.check_config(config), workdir, model_file, data_dir)
    folder = workdir / "samples"
    for path in pictures.write_samples(model, folder, "samples", min(num_samples or 64, 64), temperature, seed):
        print(f"wrote {path}")
    if num_samples:
        samples = model.sample(num_samples, temperature, seed)
        with new_file(folder / "samples.npy") as file:
            np.save(file, samples)
        print(f"wrote {folder / 'samples.npy'}")


def draw_figures(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None = None,
    model_file: str = "model.keras",
    seed: int = 0,
) -> list[pathlib.Path]:
    """Draws the figures of the paper from the workdir's model into figures/, and for TensorBoard.

    `MRCNF` has one figure more, samples by resolution. `FFJORD` in the plane has a single one, the path of its density.

    Returns:
      The paths of the PNG files.

    Raises:
      ValueError: if the workdir holds neither a model of images nor `FFJORD` in the plane, or a conditional one, or if
        the data are missing or do not fit the model.
    """
    config = checks.check_config(config)
    if config.conditional:
        raise ValueError("conditional must be False for the figures, which are of an unconditional flow; got True")
    model, test = models.load_model_and_examples(config, workdir, model_file, config.test_split, data_dir, compile=True)
    folder, tensorboard_dir = workdir / "figures", workdir / "tensorboard/figures"
    if isinstance(model, rnvp.FFJORD) and model.event_shape == (2,):
        paths = continuous.write_path(model, folder, tensorboard_dir, step_of(model) if model.compiled else 0, seed)
    else:
        training = data.load(config, config.train_split, data_dir)
        images = first_images(training, 60_000), first_images(test, 200)
        paths = paper.write_figures(model, *images, folder, tensorboard_dir, seed)
    print("\n".join(f"wrote {path}" for path in paths))
    return paths


def first_images(examples: data.Examples, number: int) -> np.ndarray:
    """Array of the first `number` images of a split, or of all images of a smaller split."""
    batches = data.evaluation_batches(data.without_context(examples), 256).as_numpy_iterator()
    images = itertools.islice(itertools.chain.from_iterable(batches), number)
    return np.stack(list(images))
