"""What a run's model draws: samples, and the figures of the paper."""

import itertools

import numpy as np

from train import checks, data, figures, models, pictures


def sample(config, workdir, data_dir=None, model_file="model.keras", num_samples=None, temperature=1.0, seed=0):
    """Draws samples from the workdir's model: a picture of up to 64, and with `num_samples` an .npy file of them all.

    For a model that is conditioned on labels there is a second picture, of each class.

    Raises:
      ValueError: where the workdir holds no model, or `num_samples` are asked of one that is conditioned on vectors.
    """
    model, _ = models.load(checks.check(config), workdir, model_file, None, data_dir)
    folder = workdir / "samples"
    for path in pictures.write_samples(model, folder, "samples", min(num_samples or 64, 64), temperature, seed):
        print(f"wrote {path}")
    if num_samples:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "samples.npy", model.sample(num_samples, temperature, seed))
        print(f"wrote {folder / 'samples.npy'}")


def draw_figures(config, workdir, data_dir=None, model_file="model.keras", seed=0):
    """Draws the figures of the paper from the workdir's model into figures/, and for TensorBoard.

    Returns:
      The paths of the PNG files.

    Raises:
      ValueError: where the workdir holds no model of images, or a conditional one, or the data are not there or do not
        fit the model.
    """
    config = checks.check(config)
    if config.conditional:
        raise ValueError("conditional must be False for the figures, which are of an unconditional flow; got True")
    model, test = models.load(config, workdir, model_file, config.test_split, data_dir)
    examples = data.load(config, config.train_split, data_dir)
    paths = figures.write(
        model,
        first_images(examples, 60_000),
        first_images(test, 200),
        workdir / "figures",
        workdir / "tensorboard/figures",
        seed,
    )
    print("\n".join(f"wrote {path}" for path in paths))
    return paths


def first_images(examples, number):
    """Array of the first `number` images of a split, or of all where there are fewer."""
    batches = data.evaluation_batches(data.without_context(examples), 256).as_numpy_iterator()
    images = itertools.islice(itertools.chain.from_iterable(batches), number)
    return np.stack(list(images))
