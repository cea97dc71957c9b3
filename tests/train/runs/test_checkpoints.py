"""Checkpoints: the files that are kept, the times of saving, and damaged files."""

import os
import signal
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_realnvp as rnvp
from train.runs import checkpoints

X = np.random.default_rng(0).normal(size=[8, 2]).astype("float32")
TOO_LARGE = np.full_like(X, 1e25)  # Its step is skipped.


@pytest.fixture(scope="module")
def model():
    """An untrained flow; tests may train it."""
    model = rnvp.VectorRealNVP((2,), num_couplings=1, hidden_units=(3,), seed=0)
    model.compile()
    return model


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def save(model, folder, steps, keep=9):
    saved = checkpoints.Checkpoints(folder, keep)
    for step in steps:
        model.optimizer.iterations.assign(step)
        saved.save(model)
    return saved


def steps_in(folder):
    return [int(path.stem.removeprefix("step_")) for path in sorted(folder.iterdir())]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# The files.


def test_the_last_few_are_kept_and_the_last_is_loaded(model, folder):
    with pytest.raises(ValueError, match="workdir must hold a checkpoint; there is none in .*checkpoints"):
        checkpoints.Checkpoints(folder, 1).load()
    saved = save(model, folder, [1, 2, 30, 4], keep=2)
    assert steps_in(folder) == [2, 4, 30]  # Checkpoints of later steps remain.
    assert checkpoints.step_of(saved.load()) == 30
    save(model, folder, [1000], keep=2)
    assert steps_in(folder) == [30, 1000]


def damaged(data, how):
    return {
        "nothing left": b"",
        "half": data[: len(data) // 2],
        "without its end": data[:-1],
        "a bit": data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
        "zeros": bytes(len(data)),
        "text": b"no archive",
    }[how]


@pytest.mark.parametrize("how", ["nothing left", "half", "without its end", "a bit", "zeros", "text"])
def test_a_damaged_file_is_warned_of_and_the_one_before_it_is_loaded(how, model, folder, caplog):
    saved = save(model, folder, [1, 2])
    path = folder / "step_0000000002.keras"
    path.write_bytes(damaged(path.read_bytes(), how))
    before = contents(folder)
    assert checkpoints.step_of(saved.load()) == 1
    assert f"{path} is " in caplog.text and "falling back to the checkpoint before it" in caplog.text
    assert contents(folder) == before
    (folder / "step_0000000001.keras").write_bytes(b"")
    before = contents(folder)
    with pytest.raises(ValueError, match="none of .*0001.keras.*0002.keras can. Nothing was deleted"):
        saved.load()
    assert contents(folder) == before


def test_the_best_is_not_replaced_by_another_if_it_is_damaged(folder):
    folder.mkdir()
    (folder / "best.keras").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"best.keras is truncated.*. Bring it back .* or remove it"):
        checkpoints.load_best(folder / "best.keras")


def test_the_best_value_so_far_is_in_the_checkpoint(folder, eagerly):
    path = folder / "best.keras"
    assert checkpoints.best_so_far(path) == np.inf
    folder.mkdir()
    trained = rnvp.VectorRealNVP((2,), num_couplings=1, hidden_units=(3,), seed=0)
    trained.compile()
    trained.save(path)
    assert checkpoints.best_so_far(path) == np.inf
    best = keras.callbacks.ModelCheckpoint(path, "val_bits_per_dim", mode="min", save_best_only=True)
    trained.fit(X, validation_data=2 * X, epochs=3, callbacks=[best], verbose=0)
    assert checkpoints.best_so_far(path) == min(trained.history.history["val_bits_per_dim"])


def test_what_does_not_fit_on_the_disk_leaves_the_checkpoint_before_it(model, folder, small_disk):
    saved = save(model, folder, [1])
    before = contents(folder)
    model.optimizer.iterations.assign(2)
    message = r"could not save .*File too large.*; the last good one is .*0001.keras.*0002.keras"
    with pytest.raises(OSError, match=message), small_disk(10_000):
        saved.save(model)
    assert contents(folder) == before


def test_what_a_killed_process_had_begun_to_write_is_removed(model, folder):
    save(model, folder, [1])
    (folder / "draft.step_0000000002.keras").write_bytes(b"half")
    save(model, folder, [3])
    assert steps_in(folder) == [1, 3]


# The times of saving.


def fit(model, folder, batches, steps_per_epoch, epochs, steps=0, minutes=0.0, termination=None, callbacks=()):
    """Trains from the model's step on and returns the saved steps."""
    saving = checkpoints.Saving(
        checkpoints.Checkpoints(folder, keep=99), steps_per_epoch, steps, minutes, termination or threading.Event()
    )
    model.fit(
        tf.data.Dataset.from_tensor_slices(np.stack(batches)).repeat(),
        steps_per_epoch=steps_per_epoch,
        initial_epoch=checkpoints.step_of(model) // steps_per_epoch,
        epochs=epochs,
        verbose=0,
        callbacks=[*callbacks, saving],
    )
    return steps_in(folder)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, [4, 8]), ({"steps": 3}, [3, 4, 7, 8]), ({"steps": 1}, [*range(1, 9)]), ({"minutes": 1e-9}, [*range(1, 9)])],
    ids=str,
)
def test_there_is_one_after_each_epoch_and_every_few_steps_or_minutes(options, expected, model, folder, eagerly):
    model.optimizer.iterations.assign(0)
    assert fit(model, folder, [X], steps_per_epoch=4, epochs=2, **options) == expected


def test_an_epoch_is_entered_in_its_middle(model, folder, eagerly):
    batches = [X, 2 * X, 3 * X]
    model.optimizer.iterations.assign(0)
    fit(model, folder, batches, steps_per_epoch=3, epochs=2, steps=1)
    expected = model.history.history["loss"]
    entered = keras.saving.load_model(folder / "step_0000000002.keras")
    fit(entered, folder, batches[2:] + batches[:2], steps_per_epoch=3, epochs=2)
    assert entered.history.history["loss"] == expected and entered.history.epoch == [0, 1]
    assert checkpoints.step_of(entered) == 6


def test_no_step_that_was_skipped_is_saved_but_the_last(model, folder, eagerly):
    model.optimizer.iterations.assign(0)
    batches = [X, TOO_LARGE, X, TOO_LARGE]
    assert fit(model, folder, batches, steps_per_epoch=2, epochs=2, steps=1) == [1, 3, 4]


def test_a_model_that_has_exploded_is_not_saved(folder, capsys, caplog, eagerly):
    flow = rnvp.VectorRealNVP((2,), num_couplings=1, hidden_units=(3,), seed=0)
    flow.compile(optimizer=keras.optimizers.SGD(1e-3))
    probe = checkpoints.Probe(flow, X)
    assert probe.is_good(flow)
    weights = flow.get_weights()
    for value in (np.nan, 1e30, 10.0):  # two losses that are not finite, and one that is
        flow.set_weights([np.full_like(weight, value) for weight in weights])
        assert not probe.is_good(flow)
    terminated = threading.Event()
    terminated.set()
    saving = checkpoints.Saving(checkpoints.Checkpoints(folder, 9), 4, 1, 0.0, terminated, probe.is_good)
    with pytest.raises(SystemExit):
        flow.fit(X, batch_size=2, verbose=0, callbacks=[saving])
    assert not folder.exists() and "step 1 is not saved" in caplog.text
    assert "terminated; saved is step 0" in capsys.readouterr().out


def test_a_continuous_flow_without_a_solution_has_exploded():
    flow = rnvp.FFJORD((2,), hidden_units=(3,), seed=0)
    probe = checkpoints.Probe(flow, X)
    assert probe.is_good(flow)
    flow.set_weights([np.full_like(weight, np.nan) for weight in flow.get_weights()])
    assert not probe.is_good(flow)


def test_an_epoch_without_a_finite_loss_is_not_saved(model, folder, eagerly):
    saving = checkpoints.Saving(checkpoints.Checkpoints(folder, 9), 4, 0, 0.0, threading.Event())
    saving.set_model(model)
    saving.set_params({"epochs": 9})
    model.progress.skipped_in_a_row.assign(0)
    model.optimizer.iterations.assign(4)
    saving.on_train_begin()
    for logs in ({"loss": np.nan}, {"loss": 1.0, "val_loss": np.inf}):
        saving.on_epoch_end(0, logs)
    assert not folder.exists()
    saving.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    assert steps_in(folder) == [4]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
@pytest.mark.parametrize("step", [6, 8])  # in an epoch and at its end
def test_signals_end_the_run_when_the_next_step_is_saved(number, code, step, model, folder, capsys, eagerly):
    model.optimizer.iterations.assign(4)
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]

    def terminate(batch, logs):
        if checkpoints.step_of(model) == step - 1:
            os.kill(os.getpid(), number)

    sender = keras.callbacks.LambdaCallback(on_train_batch_begin=terminate)
    with pytest.raises(SystemExit) as caught, checkpoints.termination() as termination:
        fit(model, folder, [X], steps_per_epoch=4, epochs=9, termination=termination, callbacks=[sender])
    assert caught.value.code == code and steps_in(folder) == [step]
    assert f"terminated; saved is step {step}: the same command goes on from there" in capsys.readouterr().out
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == [signal.SIG_IGN, signal.SIG_DFL]
    for each, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
        signal.signal(each, handler)


def test_a_second_sigint_ends_the_process(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: ended.set() if code == 130 else None)
    with checkpoints.termination() as termination:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert termination.is_set() and not ended.wait(0.2)
        os.kill(os.getpid(), signal.SIGINT)
        assert ended.wait(10)


def test_without_a_signal_the_handlers_are_as_before():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with checkpoints.termination() as termination:
        assert not termination.is_set()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
