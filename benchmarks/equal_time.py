"""Trains this package's image flows for equal times, draws their curves and evaluates them on test images.

  python -m benchmarks.equal_time --dataset=mnist --data_dir=DIR --seconds=300 --out=docs/figures/equal_time_mnist.png

A flow has the model and the optimizer of its config, and each has a process of its own. The clock starts at the first
step, after the graph is made. The learning rate falls linearly in the second half. A curve shows the training's
bits/dim, which are a bound for all flows but the exact one.
"""

import functools
import importlib
import time

import matplotlib
import numpy as np
from absl import app, flags

import tfp_realnvp as rnvp
from benchmarks import quality, report, workers
from benchmarks.peers import Maker
from train import data, train
from train.optimizers import OPTIMIZERS

matplotlib.use("Agg")
from matplotlib import pyplot

SMALL = {  # Flow ↦ module of train/configs and further options of its model, for images of 28×28 pixels.
    "UvA, multi-scale": ("uva_multiscale", {}),
    "RealNVP": ("fashion_mnist_small", {}),
    "Glow": ("glow_mnist", {}),
    "MRCNF": ("cifar10_mrcnf", {}),
    "SubpixelFlow, uniform noise": ("mnist_fast", {"dequantization": "uniform"}),
    "SubpixelFlow, learned noise": ("mnist_fast", {"dequantization": "variational"}),
    "SubpixelFlow, exact": ("mnist_fast", {}),
}
FLOWS = {
    "mnist": SMALL,
    "fashion_mnist": SMALL,
    "cifar10": {
        **SMALL,
        "RealNVP": ("cifar10_small", {}),
        "Glow": ("glow_cifar10_small", {}),
        "SubpixelFlow, uniform noise": ("cifar10_fast", {"dequantization": "uniform"}),
        "SubpixelFlow, learned noise": ("cifar10_fast", {"dequantization": "variational"}),
        "SubpixelFlow, exact": ("cifar10_fast", {}),
    },
}
POINTS = 25  # of a curve

_DATASET = flags.DEFINE_enum("dataset", "cifar10", list(FLOWS), "Data set of TFDS.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TFDS's data sets; default: TFDS's own.")
_SECONDS = flags.DEFINE_integer("seconds", 300, "Of the training of each flow.", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 2, "Of each training.", lower_bound=1)
_TEST = flags.DEFINE_string("test_split", "test[:1000]", "Of the data set.")
_ONLY = flags.DEFINE_list("only", [], "Names of flows; default: all.")
_OUT = flags.DEFINE_string("out", "benchmarks/results/equal_time.png", "Picture of the curves.")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; every setting is a flag, such as --seconds=60")
    flows = FLOWS[_DATASET.value]
    if set(_ONLY.value) - set(flows):
        raise app.UsageError(f"--only must name some of {', '.join(flows)}; got {_ONLY.value}")
    workers.set_environment(_THREADS.value)
    results = {}
    for name in _ONLY.value or flows:
        config, options = flows[name]
        maker = Maker("equal_time:Training", dict(config=config, options=options, dataset=_DATASET.value))
        with workers.Worker(maker) as worker:
            results[name] = worker.call("result", _DATA_DIR.value, _TEST.value, _SECONDS.value)
        row = {"flow": name, **{key: value for key, value in results[name].items() if key != "curve"}}
        print("\n".join(report.table([row])), flush=True)
    draw({name: result["curve"] for name, result in results.items()}, _OUT.value)
    rows = [{"flow": name, **result, "curve": [*result["curve"].items()]} for name, result in results.items()]
    print("\n".join(report.table(rows)))


class Training:
    """The training of a flow against the clock.

    Args:
      config: module of train/configs.
      options: further options of the model.
      dataset: name of the data set.
    """

    def __init__(self, config, options, dataset):
        self._config = importlib.import_module(f"train.configs.{config}").get_config()
        self._config.update(dataset=dataset, conditional=False, flip=dataset == "cifar10")
        self._config.model.update(options)

    def result(self, data_dir, test_split, seconds):
        """Trains for this number of seconds; the steps, the weights, the curve and the bits/dim of test images.

        A flow is evaluated as its config says. One with exact probabilities is evaluated by them, too.
        """
        config = self._config
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
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    app.run(main)
