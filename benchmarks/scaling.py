"""Throughput of several workers with one thread each, over that of one worker with one thread.

  python -m benchmarks.scaling [--workers=2] [--batch_size=64] [--steps=10] [--repetitions=3]

Config A of the other benchmarks on random images, the same global batch for all; each worker is a process on 127.0.0.1.
Repetitions of the two alternate. To be run where nothing else computes, on as many cores as there are workers.
"""

import json
import os
import socket
import statistics
import subprocess
import sys

from absl import app, flags

_WORKERS = flags.DEFINE_integer("workers", 2, "How many workers are compared with one.", lower_bound=2)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images of a step, of all workers together.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 10, "Steps that are timed, after two that are not.", lower_bound=1)
_REPETITIONS = flags.DEFINE_integer("repetitions", 3, "Whose median counts.", lower_bound=1)
WORKER = """
import sys, time
import numpy as np, tensorflow as tf
batch_size, steps = int(sys.argv[1]), int(sys.argv[2])
strategy = tf.distribute.MultiWorkerMirroredStrategy() if "many" in sys.argv else tf.distribute.get_strategy()
import tfp_realnvp as rnvp
from benchmarks.peers import CONFIG_A
with strategy.scope():
    model = rnvp.RealNVP(**CONFIG_A, seed=0)
    model.compile()
images = np.random.default_rng(0).integers(0, 256, (batch_size, 32, 32, 3), dtype=np.uint8)
batches = tf.data.Dataset.from_tensors(images).repeat()
model.fit(batches, steps_per_epoch=2, verbose=0)
start = time.perf_counter()
model.fit(batches, steps_per_epoch=steps, verbose=0)
print("images per second:", batch_size * steps / (time.perf_counter() - start))
"""


def images_per_second(workers, batch_size, steps):
    """Of so many workers together, as the first of them measures it."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    one_thread = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **one_thread, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", WORKER, str(batch_size), str(steps), "many" if workers > 1 else "one"]
    processes = []
    for index in range(workers):
        if workers > 1:
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment = {**environment, "TF_CONFIG": json.dumps(task)}
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("a worker has failed")
    return float(outputs[0].rpartition(":")[2])


def main(argv):
    del argv
    measured = {1: [], _WORKERS.value: []}
    for _ in range(_REPETITIONS.value):
        for workers, rates in measured.items():
            rates.append(images_per_second(workers, _BATCH_SIZE.value, _STEPS.value))
            print(f"{workers} workers: {rates[-1]:.2f} images/s", flush=True)
    one, many = (statistics.median(rates) for rates in measured.values())
    print(f"{_WORKERS.value} workers / 1 worker: {many / one:.2f}")


if __name__ == "__main__":
    app.run(main)
