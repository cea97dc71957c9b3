"""Runs of several workers, each a process on 127.0.0.1, and the choice of a strategy."""

import json
import re
import signal
import socket
import time
import types

import numpy as np
import pytest
import tensorflow as tf

from tests.train import kills, processes
from tests.train.files import arrays_of
from train import data
from train.configs import default
from train.runs import strategies

pytestmark = pytest.mark.long

RUN = [
    "-m",
    "train.main",
    "--config=train/configs/pinwheel.py",
    "--config.model.num_couplings=2",
    "--config.model.hidden_units=(8,)",
    "--config.batch_size=64",
    "--config.epochs=4",
    "--config.steps_per_epoch=10",
    "--config.checkpoint.steps=3",
    "--config.validation_split=test[:33]",
    "--config.test_split=test[:77]",
    "--noreport",
]
# A user's program: each worker saves its weights, and its evaluation of 17 examples in batches of 5.
PROGRAM = """
import sys
import numpy as np, tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy() if sys.argv[2] == "many" else tf.distribute.get_strategy()
import tfp_realnvp as rnvp
points = np.random.default_rng(0).normal([1.0, -2.0, 0.0], [2.0, 0.3, 1.0], [50, 3])
with strategy.scope():
    model = rnvp.VectorRealNVP((3,), 2, hidden_units=[4], norm="batch", seed=0, dtype="float64")
    model.compile(rnvp.optimizers.Adam(3e-3, global_clipnorm=0.5))
batches = tf.data.Dataset.from_tensor_slices(points).batch(18)
model.fit(batches.repeat(), steps_per_epoch=20, verbose=0)
nats = model.evaluate(tf.data.Dataset.from_tensor_slices(points[:17]).batch(5), return_dict=True, verbose=0)["loss"]
np.savez(sys.argv[1], nats, *[weight.numpy() for weight in model.weights])
"""


def start(arguments, number=1, **environment):
    """Starts workers of a run; returns their processes."""
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    workers = []
    for index in range(number):
        cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        names = {**environment, **({"TF_CONFIG": json.dumps(cluster)} if number > 1 else {})}
        workers.append(processes.Program([argument.format(index=index) for argument in arguments], **names))
    return workers


def finish(workers):
    """Waits for the workers; returns their outputs."""
    outputs = [worker.communicate(timeout=300)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * len(workers), "\n".join(outputs)
    return outputs


def assert_close(array, expected):
    assert np.abs(array - expected).max(initial=0) <= 1e-4 * np.abs(expected).max(initial=0)


def test_three_workers_train_like_one_device_and_end_with_the_same_bits(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    finish(start([str(program), str(tmp_path / "one"), "one"]))
    finish(start([str(program), str(tmp_path / "worker_{index}"), "many"], 3))
    one, *workers = (
        list(np.load(tmp_path / f"{name}.npz").values()) for name in ("one", *map("worker_{}".format, range(3)))
    )
    for worker in workers:
        for array, expected, first in zip(worker, one, workers[0], strict=True):
            assert_close(array, expected)
            np.testing.assert_array_equal(array, first)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of one process, and the same by two workers: first one is killed, then one is terminated."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tmp").mkdir()
    one, many = ([*RUN, f"--workdir={folder / name}"] for name in ("one", "many"))
    begin = lambda: start(many, 2, TMPDIR=str(folder / "tmp"))
    finish(start(one))
    chief, other = begin()
    kills.wait_for_a_checkpoint(folder / "many", chief, before="")
    other.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    error, _ = chief.communicate(timeout=300)
    seconds = time.monotonic() - killed
    other.communicate()
    (left,) = (folder / "tmp").glob("worker_*")  # The killed worker has left it.
    left.rename(folder / "left")
    workers, last = begin(), kills.newest(folder / "many")
    kills.wait_for_a_checkpoint(folder / "many", workers[0], last)
    workers[1].send_signal(signal.SIGTERM)
    return types.SimpleNamespace(
        folder=folder,
        killed=(chief.returncode, error, seconds),
        terminated=finish(workers),
        finished=finish(begin()),
    )


def test_the_others_stop_within_a_minute_when_a_worker_is_killed(runs):
    code, error, seconds = runs.killed
    assert code == 1 and "another worker of this run has stopped or cannot be reached" in error
    assert "Traceback" not in error and seconds < 60


def test_all_workers_save_the_same_step_and_exit_when_one_is_terminated(runs):
    assert all("going on from step " in output for output in runs.terminated)
    first, other = (re.findall(r"terminated; saved is step (\d+)", output) for output in runs.terminated)
    assert first == other and len(first) == 1
    assert all(f"going on from step {first[0]}\n" in output for output in runs.finished)


def test_stopped_workers_go_on_and_end_as_one_process_does(runs):
    folder = runs.folder
    arrays, expected = (arrays_of(folder / name / "checkpoints/step_0000000040.keras") for name in ("many", "one"))
    assert {*arrays} == {*expected}
    for name, array in arrays.items():
        assert_close(array, expected[name])
    results = [json.loads((folder / name / "result.json").read_text()) for name in ("many", "one")]
    assert [(result["num_examples"], result["step"]) for result in results] == [(77, results[1]["step"])] * 2
    np.testing.assert_allclose(results[0]["bits_per_dim"], results[1]["bits_per_dim"], rtol=1e-4)
    lines = [(folder / name / "metrics.jsonl").read_text().splitlines() for name in ("many", "one")]
    for line, one in zip(*lines, strict=True):
        for name in ("step", "loss", "val_loss", "skipped"):
            np.testing.assert_allclose(json.loads(line)[name], json.loads(one)[name], rtol=1e-4)


def test_only_the_chief_writes(runs):
    folder = runs.folder
    files = [
        {path.name for path in (folder / name).rglob("*") if "tfevents" not in path.name} for name in ("many", "one")
    ]
    assert files[0] == files[1] and not list((folder / "tmp").glob("worker_*"))
    assert ["bits/dim over 77 examples" in output for output in runs.finished] == [True, False]


@pytest.mark.parametrize("number", [2, 4])
def test_workers_share_each_batch_out(number):
    config = default.get_config()
    examples = data.load(config, "train[:50]")
    batches = lambda context: data.training_batches(examples, 12, 0, 3, shift=0.5, input_context=context)
    contexts = [tf.distribute.InputContext(number, index, number) for index in range(number)]
    shares = [[batch.numpy() for batch in batches(context).take(6)] for context in contexts]  # up to the second pass
    in_order = lambda images: np.unique(images.reshape(len(images), -1), axis=0, return_counts=True)
    for expected, *parts in zip(batches(None).take(6), *shares, strict=True):
        assert {len(part) for part in parts} == {12 // number}
        for values, others in zip(in_order(np.concatenate(parts)), in_order(expected.numpy()), strict=True):
            np.testing.assert_array_equal(values, others)


def test_one_device_is_found_and_named(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    assert strategies.auto() is strategies.none() is tf.distribute.get_strategy()
    assert strategies.is_chief(strategies.none()) and strategies.is_chief(strategies.mirrored())


@pytest.mark.parametrize(("kind", "name"), [("TPU", "tpu"), ("GPU", "mirrored")])
def test_what_is_found_is_taken(kind, name, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda asked=None: [asked] * 2 * (asked == kind))
    monkeypatch.setattr(strategies, name, lambda: name)
    assert strategies.auto() == name


@pytest.mark.parametrize(
    "value", ["", "nope", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}']
)
def test_a_wrong_tf_config_is_shown(value, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(ValueError, match="TF_CONFIG must be .*cluster.*task.*; got"):
        strategies.auto()


def test_a_tpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("gc.collect", int)  # TensorFlow's collection of the garbage of all tests takes half a minute.
    with pytest.raises(ValueError, match="strategy must be another than tpu on a machine without a TPU"):
        strategies.tpu()


def test_what_replicas_cannot_do_is_refused():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    strategies.check_replicas(strategy, 5, 5)
    several = types.SimpleNamespace(num_replicas_in_sync=4)
    with pytest.raises(ValueError, match="batch_size must be a multiple of the number of replicas, 4; got 6"):
        strategies.check_replicas(several, 6, 1)
    with pytest.raises(ValueError, match="steps_per_execution must be 1 for 4 replicas that are not a TPU's; got 5"):
        strategies.check_replicas(several, 8, 5)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
