"""The times of pictures, the lines of metrics after a resume, and the throughput."""

import json
import types

import keras
import numpy as np
import pytest

import tfp_realnvp as rnvp
from train.figures import pictures
from train.runs import callbacks


def run_epochs(callback, epochs, model=None):
    callback.set_model(model)
    for epoch in epochs:
        callback.on_epoch_end(epoch, {"loss": np.float32(epoch)})


@pytest.mark.parametrize(("every", "saved"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (5, [5]), (9, [5])])
def test_pictures_are_saved_every_few_epochs_and_after_the_last(every, saved, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "of_samples", lambda model: np.zeros([4, 4, 3], np.uint8))
    run_epochs(callbacks.SamplePictures(tmp_path / "samples", tmp_path / "events", every, epochs=5), range(5))
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [f"epoch_{n:04d}.png" for n in saved]


def test_a_model_without_pictures_leaves_none(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "of_samples", lambda model: None)
    run_epochs(callbacks.SamplePictures(tmp_path / "samples", tmp_path / "events", 1, epochs=2), range(2))
    assert not (tmp_path / "samples").exists()


def test_a_flow_that_overflows_at_its_samples_costs_a_picture_and_not_the_run(tmp_path, caplog):
    model = rnvp.NICE((4, 4, 1), num_bins=17, hidden_units=[2], seed=0)
    model.set_weights([1e30 * np.ones_like(weight) for weight in model.get_weights()])
    run_epochs(callbacks.SamplePictures(tmp_path / "samples", tmp_path / "events", 1, epochs=1), [0], model)
    assert not (tmp_path / "samples").exists()
    assert "there is no picture of samples: z must be closer to 0" in caplog.text


def test_lines_of_epochs_that_are_repeated_are_replaced(tmp_path):
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.25), "mse")
    path = tmp_path / "metrics.jsonl"
    run_epochs(callbacks.MetricsFile(path, first_epoch=0), [0, 1, 2], model)
    before = path.read_text().splitlines()
    model.optimizer.iterations.assign(7)
    run_epochs(callbacks.MetricsFile(path, first_epoch=1), [1], model)
    after = path.read_text().splitlines()
    assert (len(before), after[0]) == (3, before[0])
    assert [json.loads(line) for line in after[1:]] == [{"epoch": 2, "step": 7, "learning_rate": 0.25, "loss": 1.0}]


@pytest.mark.parametrize("damaged", ['{"epoch": 2, "lo', "\0\0\0", "[]", '{"step": 2}', "2", "\xff"])
def test_a_damaged_line_is_left_out_with_a_warning(damaged, tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"epoch": 1}\n' + damaged.encode("latin-1"))
    callbacks.MetricsFile(path, first_epoch=2)
    assert path.read_text() == '{"epoch": 1}\n'
    assert f"a line of {path} is cut or damaged, and left out: " in caplog.text


def test_epochs_count_and_not_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 3}\n{"epoch": 4}\n{"epoch": 5}')  # earlier ones were lost
    callbacks.MetricsFile(path, first_epoch=4)
    assert path.read_text() == '{"epoch": 3}\n{"epoch": 4}\n'


def test_a_new_run_begins_a_new_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1}\n')
    callbacks.MetricsFile(path, first_epoch=0)
    assert path.read_text() == ""


def test_throughput_counts_the_images_of_an_epoch(monkeypatch):
    clock = iter([10.0, 11.0, 14.0, 20.0, 20.5])
    monkeypatch.setattr(callbacks, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    throughput, logs = callbacks.Throughput(batch_size=8), {}
    seen = []
    for batches in (2, 1):
        throughput.on_epoch_begin(0)
        for batch in range(batches):
            throughput.on_train_batch_end(batch, logs)
            seen.append(logs["images_per_s"])
    throughput.on_epoch_end(1, logs)
    assert [*seen, logs["images_per_s"]] == [8.0, 4.0, 16.0, 16.0]


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
