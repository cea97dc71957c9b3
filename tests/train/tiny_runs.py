"""Runs with small flows, and helpers to read their files."""

import dataclasses
import json
import pathlib
import shutil

import keras
import numpy as np
import pytest

from tfp_realnvp import architectures
from train import train
from train.configs import default
from train.runs import callbacks

OFFICIAL = pathlib.Path(__file__).parents[1] / "data/official_small/model.ckpt"


def tiny(**fields):
    """A flow of one scale on the digits, two epochs of two steps, and splits that the batch size does not divide."""
    config = default.get_config()
    config.update(dataset="digits", validation_split="validation[:30]", test_split="test[:50]", samples_every=1)
    config.update(epochs=2, steps_per_epoch=2, batch_size=8, shift=0.5)
    config.evaluation.batch_size = 20
    config.checkpoint.steps = 1
    config.update(learning_rate=0.01, final_learning_rate=0.0)
    config.model.update(num_scales=1, filters=4, num_blocks=1)
    config.update(fields)
    return config


def official(**fields):
    """A config with images of the checkpoint's size."""
    config = tiny(dataset="cifar10", validation_split="", test_split="test", crop=16, shift=0.0, epochs=1, **fields)
    config.update(init_from_official=str(OFFICIAL), steps_per_epoch=1)
    return config


@dataclasses.dataclass
class Run:
    workdir: pathlib.Path
    result: dict
    crashed: pathlib.Path


def run_to_the_end(config, folder):
    """A finished run: its workdir (not to be changed), its result, and a copy of its workdir after a crash."""
    workdir, crashed = folder / "not" / "there", folder / "crashed"
    save_picture = callbacks.SamplePictures.on_epoch_end

    def crash(self, epoch, logs=None):
        if epoch == 1:  # The worst moment: the second epoch has its metrics, but no checkpoint.
            shutil.copytree(workdir, crashed)
        save_picture(self, epoch, logs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.SamplePictures, "on_epoch_end", crash)
        result = train.train_and_evaluate(config, workdir)
    return Run(workdir, result, crashed)


def metrics(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert line.pop("images_per_s") > 0  # It alone differs from run to run.
    return lines


def last(workdir):
    """The last checkpoint."""
    return max((workdir / "checkpoints").glob("step_*.keras"))


def facts(result):
    """The settings of a result."""
    return {name: result[name] for name in ("split", "num_examples", "step", "num_draws", "model")}


def contents(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def assert_same(arrays, others):
    assert len(arrays) > 50 and {*arrays} == {*others}
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)


@keras.saving.register_keras_serializable(package="tests")
class Plain(architectures.RealNVP):
    """A flow with other arguments, without a context, and with a standardization by the data."""

    def __init__(self, event_shape, width=2, num_bins="auto", seed=None, dtype=None, name="plain"):
        super().__init__(
            event_shape, num_scales=1, filters=width, num_blocks=1, num_bins=num_bins, seed=seed, dtype=dtype, name=name
        )

    def adapt(self, batches):
        raise NotImplementedError
