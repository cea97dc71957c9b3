"""Part 7: time to quality: bits/dim of test images after a fixed wall-clock time, for our flow and the best peer.

Among the peers, normflows's Glow gets furthest in minutes. It has the sizes, optimizer and schedule of our small Glow.
"""

import math
import pathlib
import tempfile
import time

import numpy as np

from benchmarks import report, workers
from benchmarks.peers import DTYPE_POLICY, Maker

CONFIG = "train.configs.glow_cifar10_small"
GLOW = dict(batch_size=16, learning_rate=2e-3, beta_2=0.99, clip_norm=32 * 32 * 3 * math.log(2))  # 1 bits/dim.
WARM_UP_STEPS, DECAY_START = 100, 0.5  # The start of the decay is a fraction of the time.


def measure_quality(run):
    """The clock starts after the imports, so building and tracing count."""
    run.pool.close()
    precision, rows = run.precisions[-1], []
    contestants = {
        f"ours, {CONFIG.split('.')[-1]} in {precision}": Maker(
            "peers.ours:of_config", dict(config=CONFIG, dtype=DTYPE_POLICY[precision])
        ),
        "normflows, Glow": Maker("peers.normflows_peer:glow", GLOW),
    }
    with tempfile.TemporaryDirectory() as folder:
        with workers.Worker(Maker("data:Data", dict(data_dir=run.data_dir))) as data:
            data.call("save", folder)
            name = data.call("name")
        for contestant, maker in contestants.items():
            run.report(f"{run.seconds} seconds of training {contestant}")
            with workers.Worker(Maker("quality:Training", dict(maker=maker))) as worker:
                result = worker.call("result", folder, run.seconds)
            rows.append({"contestant": contestant, "data": name, **result})
    ours, peer = rows
    name = f"bits/dim of {name} after {run.seconds} s: {ours['contestant']} / {peer['contestant']}"
    return [report.Ratio(name, ours["bits/dim"] / peer["bits/dim"])], rows


class Training:
    """The training of a contestant against the clock.

    Args:
      maker: `peers.Maker` of a contestant; its function takes the images' shape and its options.
    """

    def __init__(self, maker):
        self._make = maker.imported()

    def result(self, folder, seconds):
        """Trains for this number of seconds on a folder's train.npy, and evaluates on its test.npy."""
        train, test = (np.load(pathlib.Path(folder) / f"{split}.npy") for split in ("train", "test"))
        random, steps, start = np.random.default_rng(0), 0, time.perf_counter()
        flow = self._make(event_shape=train.shape[1:])
        while (spent := (time.perf_counter() - start) / seconds) < 1:
            images = train[random.integers(len(train), size=flow.batch_size)]
            is_mirrored = random.random(len(images)) < 0.5
            images = np.where(is_mirrored[:, None, None, None], images[:, :, ::-1], images)
            flow.train(images, flow.learning_rate * rate(steps, spent))
            steps += 1
        spent = time.perf_counter() - start
        return {"steps": steps, "seconds": spent, "bits/dim": flow.bits_per_dim(test)}


def rate(steps, spent):
    """The fraction of the learning rate at a step and a fraction of the time: warm-up, then linear decay."""
    return min(steps / WARM_UP_STEPS, 1.0) * min((1 - spent) / (1 - DECAY_START), 1.0)
