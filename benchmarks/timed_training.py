"""The flows of `equal_time`, the training of one of them against the clock, and the picture of the curves."""

import functools
import importlib
import pathlib
import time

import matplotlib
import numpy as np
import tensorflow as tf

import tfp_realnvp as rnvp
from benchmarks import quality
from train import data, train
from train.optimizers import OPTIMIZERS

matplotlib.use("Agg")
from matplotlib import pyplot

SMALL = {  # Flow ↦ module of train/configs and further options of its model, for images of 28×28 pixels.
    "UvA multi-scale": ("uva_multiscale", {}),
    "RealNVP": ("fashion_mnist_small", {}),
    "Glow": ("glow_mnist", {}),
    "MRCNF": ("cifar10_mrcnf", {}),
    "SubpixelFlow with uniform noise": ("mnist_fast", {"dequantization": "uniform"}),
    "SubpixelFlow with learned noise": ("mnist_fast", {"dequantization": "variational"}),
    "exact SubpixelFlow": ("mnist_fast", {}),
}
FLOWS = {
    "mnist": SMALL,
    "fashion_mnist": SMALL,
    "cifar10": {
        **SMALL,
        "RealNVP": ("cifar10_small", {}),
        "Glow": ("glow_cifar10_small", {}),
        "SubpixelFlow with uniform noise": ("cifar10_fast", {"dequantization": "uniform"}),
        "SubpixelFlow with learned noise": ("cifar10_fast", {"dequantization": "variational"}),
        "exact SubpixelFlow": ("cifar10_fast", {}),
    },
}
POINTS = 25  # of a curve


class Training:
    """The training of a flow against the clock.

    Args:
      config: module of train/configs.
      options: further options of the model.
      dataset: name of the data set.
      in_float32: whether networks of another dtype are made in float32, for a machine that would emulate it.

    Attributes:
      config: the config of the training.
    """

    def __init__(self, config, options, dataset, in_float32):
        self.config = importlib.import_module(f"train.configs.{config}").get_config()
        self.config.update(dataset=dataset, conditional=False, flip=dataset == "cifar10")
        self.config.model.update(options)
        if in_float32 and "dtype" in self.config.model:
            self.config.model.dtype = "float32"

    def result(self, data_dir, test_split, seconds):
        """Trains for this number of seconds; the steps, the weights, the curve and the bits/dim of test images.

        A flow is evaluated as its config says. One with exact probabilities is evaluated by them, too.
        """
        config = self.config
        if config.threads_per_operation:
            tf.config.threading.set_intra_op_parallelism_threads(config.threads_per_operation)
        examples, test = (data.load(config, split, data_dir) for split in (config.train_split, test_split))
        batches = functools.partial(data.training_batches, examples, config.batch_size, config.seed, flip=config.flip)
        model, stream = train.new_model(config, examples, batches(), steps_per_epoch=1), iter(batches())
        numbers = dict(beta_2=config.beta_2, epsilon=1e-8, global_clipnorm=config.clip_norm)
        model.compile(OPTIMIZERS[config.optimizer](0.0, **numbers))
        model.train_on_batch(next(stream))  # The graph is made before the clock starts.
        start, spent, curve, losses = time.perf_counter(), 0.0, {}, []
        while spent < 1:
            model.optimizer.learning_rate = config.learning_rate * quality.rate(len(losses), spent)
            losses.append(model.train_on_batch(next(stream), return_dict=True)["bits_per_dim"])
            spent = (time.perf_counter() - start) / seconds
            if spent * POINTS > len(curve) + 1:
                curve[str(round(spent * seconds, 1))] = float(np.mean(losses[-max(len(losses) // POINTS, 20) :]))
        test_batches = data.evaluation_batches(test, config.evaluation.batch_size)
        bits = lambda nats: rnvp.evaluation.bits_per_dim(model, nats)[0]
        nats = {"bits/dim": model.predict(test_batches, verbose=0)}
        if config.architecture == "SubpixelFlow" and not model.is_exact:
            nats["of 8 draws"] = rnvp.evaluation.log_likelihood(model, test_batches, num_draws=8)
            nats["exact"] = rnvp.evaluation.exact(model, test_batches)
        rows = {name: bits(values) for name, values in nats.items()}
        return {"weights": model.count_params(), "steps": len(losses), "curve": curve, **rows}


def draw(curves, path):
    """Draws {flow: {seconds: bits/dim}} into a PNG file."""
    figure, axes = pyplot.subplots(figsize=(6.5, 4), layout="constrained")
    for name, curve in curves.items():
        axes.plot([float(second) for second in curve], [*curve.values()], label=name)
    last = [[*curve.values()][-1] for curve in curves.values()]
    axes.set(
        xlabel="seconds",
        ylabel="bits/dim of the training",
        ylim=(min(last) - 0.1, 1.5 * max(last) - 0.5 * min(last) + 0.5),
    )
    axes.grid(alpha=0.3)
    axes.legend()
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
