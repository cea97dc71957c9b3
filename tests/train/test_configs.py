"""The configs: the values of the paper's experiments, and small runs of each kind end to end on made-up data."""

import importlib
import json
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from train import data, train
from train.configs import default
from train.data import toy
from train.figures import pictures

pytestmark = pytest.mark.long

# Scales, filters, residual blocks, flips, and the shape of the images: section 4.1.
TABLE = {
    "cifar10": (2, 64, 8, True, (32, 32, 3)),
    "imagenet32": (4, 32, 4, False, (32, 32, 3)),
    "imagenet64": (5, 32, 2, False, (64, 64, 3)),
    "lsun_bedroom": (5, 32, 2, True, (64, 64, 3)),
    "lsun_tower": (5, 32, 2, True, (64, 64, 3)),
    "lsun_church_outdoor": (5, 32, 2, True, (64, 64, 3)),
    "celeb_a": (5, 32, 2, True, (64, 64, 3)),
}
CONFIGS = sorted({path.stem for path in pathlib.Path(default.__file__).parent.glob("[a-z]*.py")} - {"default"})
SPLITS = {  # of TFDS: data set, training split, test split
    "cifar10": ("cifar10", "train", "test"),
    "imagenet32": ("downsampled_imagenet/32x32", "train", "validation"),
    "imagenet64": ("downsampled_imagenet/64x64", "train", "validation"),
    "lsun_bedroom": ("lsun/bedroom", "train", "validation"),
    "lsun_tower": ("lsun/tower", "train", "validation"),
    "lsun_church_outdoor": ("lsun/church_outdoor", "train", "validation"),
    "celeb_a": ("celeb_a", "train", "test"),
}
PREPROCESSING = {  # central crop, shorter side, antialias, crop
    "cifar10": (0, 0, True, 0),
    "imagenet32": (0, 32, True, 32),
    "imagenet64": (0, 64, True, 64),
    "lsun_bedroom": (0, 96, True, 64),
    "lsun_tower": (0, 96, True, 64),
    "lsun_church_outdoor": (0, 96, True, 64),
    "celeb_a": (148, 64, False, 0),
}
SMALL = {
    **{"num_scales": 1, "steps_per_scale": 1, "num_couplings": 2, "num_blocks": 1, "filters": 2, "hidden_units": 2},
    **{"refining_scales": 1, "refining_steps": 1, "refining_filters": 2, "coarse_units": 2, "width": 4, "num_heads": 2},
}


def config_of(name):
    return importlib.import_module(f"train.configs.{name}").get_config()


def shrink(model):
    """Makes the flow small by the arguments that its architecture has; an argument that is a list gets one entry."""
    # The pixels of a coarsest image follow one another, so it stays small.
    for name in {*SMALL} & {*model} - ({"num_scales"} if model.get("coarse_units") else set()):
        is_list = isinstance(model[name], (list, tuple))
        model[name] = type(model[name])([SMALL[name]]) if is_list else SMALL[name]


@pytest.mark.parametrize("name", TABLE)
def test_the_model_and_its_training_are_the_papers(name):
    config = config_of(name)
    model = config.model
    assert (model.num_scales, model.filters, model.num_blocks, config.flip) == TABLE[name][:4]
    assert (model.alpha, model.l2, model.use_batch_norm, model.skip, model.bottleneck) == (
        0.05,
        5e-5,
        True,
        True,
        False,
    )
    assert (config.batch_size, config.clip_norm) == (64, 100.0)
    assert (config.learning_rate, config.final_learning_rate, config.warmup_steps) == (1e-3, 1e-3, 0)


@pytest.mark.parametrize("name", TABLE)
def test_the_data_and_their_preprocessing_are_the_papers(name):
    config = config_of(name)
    assert (config.dataset, config.train_split, config.test_split) == SPLITS[name]
    assert config.validation_split == "" and config.shift == 0
    assert (config.central_crop, config.shorter_side, config.antialias, config.crop) == PREPROCESSING[name]


@pytest.mark.parametrize("name", ["lsun_tower", "lsun_church_outdoor"])
def test_the_rooms_differ_in_nothing_but_the_data_set(name):
    config, bedroom = config_of(name), config_of("lsun_bedroom")
    assert config.dataset == name.replace("_", "/", 1)
    config.dataset = bedroom.dataset
    assert config == bedroom


@pytest.mark.parametrize("name", TABLE)
def test_the_data_are_batches_of_the_papers_shape(name):
    config = config_of(name)
    with tfds.testing.mock_data(num_examples=3):  # Unknown sizes are random between 5 and 50.
        training, test = (data.load(config, split) for split in (config.train_split, config.test_split))
        images = next(data.training_batches(training, 2, seed=0, flip=config.flip).as_numpy_iterator())
        (evaluated,) = data.evaluation_batches(test, 3).as_numpy_iterator()
    assert (images.shape, evaluated.shape) == ((2, *TABLE[name][4]), (3, *TABLE[name][4]))


def small(name):
    """A config's run of two steps."""
    config = config_of(name)
    shrink(config.model)
    config.update(batch_size=2, epochs=1, steps_per_epoch=2, samples_every=1)
    config.evaluation.update(batch_size=3, num_draws=1)
    config.update(train_split="train", validation_split=config.validation_split and "train[:3]")
    if config.dataset in toy.SETS:
        config.update(train_split="train[:30]", test_split="test[:3]")
    return config


def kind(name):
    """A small run of this config, apart from its images: configs of one kind need one run."""
    config = small(name)
    of_images = ("dataset", "test_split", "central_crop", "shorter_side", "antialias", "crop")
    fields = {field: value for field, value in config.to_dict().items() if field not in of_images}
    return config.dataset in toy.SETS, str(fields)


def params():
    """The name of a config of each kind."""
    for name in {kind(name): name for name in CONFIGS}.values():
        yield pytest.param(name, marks=pytest.mark.dtype(config_of(name).model.dtype))


@pytest.mark.parametrize("name", list(params()))
def test_two_steps_and_an_evaluation(name, tmp_path, monkeypatch, eagerly):
    of_samples, of_classes = pictures.of_samples, pictures.of_classes  # with fewer samples
    monkeypatch.setattr(pictures, "of_samples", lambda model, *_: of_samples(model, num_samples=2))
    monkeypatch.setattr(pictures, "of_classes", lambda model, **_: of_classes(model, num_samples=1))
    config = small(name)
    with tfds.testing.mock_data(num_examples=3):
        train.train_and_evaluate(config, tmp_path)
        shape = data.load(config, config.test_split).event_shape
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["step"], result["num_examples"], result["split"]) == (2, 3, config.test_split)
    assert np.isfinite([result["bits_per_dim"], result["loss"]]).all()
    np.testing.assert_allclose(result["bits_per_dim"], result["loss"] / (np.prod(shape) * np.log(2)))


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
