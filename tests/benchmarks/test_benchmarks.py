"""The benchmarks' parts that need no peers, at tiny sizes."""

import importlib
import inspect
import types

import numpy as np
import PIL.Image
import pytest
import sklearn.datasets
import tensorflow as tf

import tfp_realnvp as rnvp
from benchmarks import (
    anomaly,
    coders,
    continuous,
    curves,
    fillings,
    first_answer,
    flops,
    label_spreading,
    peers,
    quality,
    report,
    steps,
    timed_training,
    timing,
    vectors,
    workers,
)
from benchmarks.peers import RNODE, TRAINING_BATCH, Maker, bare, ours, tfp_real_nvp
from benchmarks.peers import continuous as blocks


def test_labels_spread_along_the_moons():
    points, truth = sklearn.datasets.make_moons(300, noise=0.05, random_state=0)
    labels = np.full(300, -1)
    for label in range(2):
        labels[np.flatnonzero(truth == label)[:2]] = label
    scores = label_spreading.spread(points, labels, num_classes=2)
    assert np.mean(scores.argmax(axis=1) == truth) > 0.98
    kept = label_spreading.surest(scores, 0.5)
    assert np.mean(kept >= 0) == pytest.approx(0.5, abs=0.02)
    assert np.mean(kept[kept >= 0] == truth[kept >= 0]) == 1


def measurement(contestant, seconds, number_of_flops=100):
    return timing.Measurement(contestant, "train_step", seconds, number_of_flops, size=32)


def test_repetitions_are_interleaved_and_every_other_round_goes_backwards(monkeypatch):
    monkeypatch.setattr(timing, "PAUSE", 0.0)
    order = []
    calls = {name: lambda name=name: order.append(name) or float(len(order)) for name in "abc"}
    assert timing.interleaved(calls, 3) == {"a": [1.0, 6.0, 7.0], "b": [2.0, 5.0, 8.0], "c": [3.0, 4.0, 9.0]}
    assert "".join(order) == "abccbaabc"


def test_a_measurement_is_its_median():
    row = measurement("ours", [4.0, 1.0, 2.0], 8e9).row()
    assert (row["seconds"], row["fastest"], row["slowest"]) == (2.0, 1.0, 4.0)
    assert (row["GFLOP"], row["GFLOP/s"], row["items/s"]) == (8.0, 4.0, 16.0)


def test_a_ratio_is_at_equal_flops_and_knows_its_target():
    ratio = report.over(measurement("ours", [3.0], 200), measurement("theirs", [2.0], 100), at_most=0.75)
    assert (ratio.value, ratio.of_times, ratio.is_met) == (0.75, 1.5, True)
    rate = report.over_in_rate(measurement("ours", [2.0], 100), measurement("product", [1.0], 100), at_least=0.8)
    assert (rate.value, rate.is_met) == (0.5, False)
    assert report.Ratio("", 0.7).is_met is None


@pytest.mark.parametrize("precisions", [("float32",), ("float32", "bfloat16")])
def test_a_machine_without_bfloat16_measures_the_rest(precisions, monkeypatch):
    monkeypatch.setattr(
        timing, "measured", lambda pool, pairs, n: {p: timing.Measurement(*p, [1.0], 1, 1) for p in pairs}
    )
    run = types.SimpleNamespace(pool=None, repetitions=1, precisions=precisions)
    for part in (steps.training, steps.throughput):
        ratios, rows = part(run)
        names = [ratio.name for ratio in ratios] + [row["contestant"] for row in rows]
        assert any("bfloat16" in name for name in names) == ("bfloat16" in precisions)
        assert {peers.OURS, *peers.PEERS} <= set(names)
    assert [ratio.at_most for ratio in ratios if "sample / log_prob" in ratio.name] == [2.5, None]


def test_the_part_of_vectors_compares_each_size_and_number_with_each_peer(monkeypatch):
    monkeypatch.setattr(
        timing, "measured", lambda pool, pairs, n: {p: timing.Measurement(*p, [1], 1, 1) for p in pairs}
    )
    pool = types.SimpleNamespace(close=lambda: None)
    run = types.SimpleNamespace(pool=pool, repetitions=1, report=lambda line: None)
    ratios, rows = vectors.measure_vectors(run)
    assert len(ratios) == len(vectors.SIZES) * len(vectors.NUMBERS) * 3 * 3 and len(rows) == len(ratios) // 3 * 4
    assert {ratio.at_most for ratio in ratios if "TFP" in ratio.name} == {0.9, 1.0}
    assert ratios[0].name.startswith("256 of 2, train_step: ours, vectors / ")


@pytest.mark.parametrize("module", [ours, tfp_real_nvp])
def test_flows_of_vectors_take_their_size_and_number(module, monkeypatch):
    monkeypatch.setitem(peers.VECTORS, "hidden_units", (4,))
    contestant = module.vector_real_nvp(size=3, number=5)
    if module is ours:
        contestant.model.sample(3)  # The graph of another number of samples is for any number.
    for method in vectors.METHODS:
        getattr(contestant, method)()
        assert contestant.size(method) == 5 and contestant.flops(method) > 0


def test_the_results_are_written_as_json_and_as_a_table(tmp_path):
    ratio = report.over(measurement("ours", [3.0]), measurement("theirs", [2.0]), at_most=0.85)
    report.write(tmp_path, {"versions": {"keras": "3"}}, {"step": ([ratio], [measurement("ours", [3.0], 1e12).row()])})
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert "versions: keras 3  " in lines
    assert "| train_step: ours / theirs | 1.50 | ≤ 0.85 | no | 1.50 |" in lines
    assert "| ours | train_step | 1,000 | 3.00 | 3.00 | 3.00 | 333 | 10.67 |" in lines
    assert '"is_met": false' in (tmp_path / "results.json").read_text()
    assert report.table([]) == []  # as of a part without ratios


def test_both_gradients_of_a_convolution_are_counted():
    x, kernel = tf.zeros([2, 8, 8, 3]), tf.zeros([3, 3, 3, 5])

    @tf.function
    def gradients(x, kernel):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = tf.nn.conv2d(x, kernel, 1, "SAME")
        return tape.gradient(y, [x, kernel])

    forward = 2 * (2 * 8 * 8 * 5) * (3 * 3 * 3)
    assert flops.of_graph(tf.function(lambda x, k: tf.nn.conv2d(x, k, 1, "SAME")), x, kernel) == forward
    assert flops.of_graph(gradients, x, kernel) == 3 * forward


@pytest.fixture(scope="module")
def contestant():
    return ours.real_nvp("float32")


def test_config_a_has_159_gflop_a_training_step(contestant):
    forward = contestant.flops("log_prob") / contestant.size("log_prob")
    assert 3 * forward * TRAINING_BATCH["images"] == pytest.approx(159e9, rel=0.03)


@pytest.mark.parametrize("name", steps.OF_LOG_PROB)
def test_a_sample_runs_the_networks_of_a_log_probability(name, monkeypatch):
    module = importlib.import_module(peers.CONTESTANTS[name].options["config"])
    config = module.get_config()
    config.model.update(num_scales=1, filters=4)
    monkeypatch.setattr(module, "get_config", lambda: config)
    contestant = peers.CONTESTANTS[name].imported()()
    assert contestant.flops("sample") == contestant.flops("log_prob") > 0


def test_the_convolutions_alone_are_those_of_the_step(contestant):
    of_the_step = contestant.flops("train_step")
    assert bare.Convolutions("float32").flops("train_step") == pytest.approx(of_the_step, rel=0.03)


def test_the_contestants_of_a_continuous_flow_have_gradients(monkeypatch):
    for name, value in dict(event_shape=(4, 4, 2), filters=2, num_layers=2, batch_size=3).items():
        monkeypatch.setitem(RNODE, name, value)
    counts = blocks.Ours().counts()
    assert counts["evaluations"] > counts["repeated"] >= 3 and counts["repeated"] % 3 == 0
    fixed = blocks.Ours(num_steps=2, adjoint=True)
    assert fixed.counts() == {"evaluations": 8, "repeated": 8}
    fixed.train_step(2)
    for step in (blocks.Ours(), blocks.Tfp(), blocks.Bare(**counts), blocks.Bare(**counts, is_plain=True)):
        gradients = step.train_step()
        assert len(gradients) >= 4 and all((gradient != 0).any() for gradient in gradients)


def test_the_part_of_the_continuous_flow_compares_times_and_memory(monkeypatch):
    class Worker:
        def __init__(self, maker):
            self.of_ours, self.num_steps = maker.path.endswith("Ours"), maker.options.get("num_steps")

        def call(self, method, *arguments):
            return {"evaluations": 10, "repeated": 9} if method == "counts" else None

        def seconds(self, method):
            return 1.1 if self.of_ours else 1.0

        def first_seconds(self, method):
            return 4.0 if self.of_ours else 2.0

        def megabytes(self, method):
            return 900.0, 100.0 + self.num_steps

        def close(self):
            pass

        __enter__ = lambda self: self
        __exit__ = lambda self, *_: None

    monkeypatch.setattr(workers, "Worker", Worker)
    monkeypatch.setattr(timing, "PAUSE", 0.0)
    run = types.SimpleNamespace(pool=types.SimpleNamespace(close=lambda: None), repetitions=1, report=lambda line: None)
    ratios, rows = continuous.measure_continuous(run)
    assert [round(ratio.value, 2) for ratio in ratios] == [1.1, 1.1, 2.0, 1.27, 1.27]
    assert [ratio.is_met for ratio in ratios] == [False, True, False, False, False]
    assert len(rows) == 3 + 2 + 6 and len(report.table(rows)) == len(rows) + 2


def test_the_curves_of_runs_are_drawn(tmp_path):
    line = '{"step": 10, "bits_per_dim": 5.0, "val_bits_per_dim": 4.9}\n'
    (tmp_path / "metrics.jsonl").write_text(2 * line)
    assert [each["step"] for each in curves.read(tmp_path)] == [10, 10]
    curves.draw({"one": curves.read(tmp_path), "two": [{"step": 20, "bits_per_dim": 4.0}]}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_worker_says_what_went_wrong_in_its_process_and_goes_on():
    with workers.Worker(Maker("peers:Maker", dict(path="here"))) as worker:
        with pytest.raises(RuntimeError, match="has no attribute 'train_step'"):
            worker.call("train_step")
        assert worker.call("__repr__") == "Maker(path='here', options={})"
        before, needed = worker.megabytes("__repr__")
        assert worker.seconds("__repr__") > 0 and before > 1 and 0 <= needed < 100


def test_the_learning_rate_warms_up_is_held_and_ends_at_nothing():
    assert [quality.rate(steps, 0.25) for steps in (0, 50, 100, 200)] == [0.0, 0.5, 1.0, 1.0]
    assert [quality.rate(200, spent) for spent in (0.5, 0.75, 1.0)] == [1.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("flag", "message"),
    [("--only=stp", "--only must name some of step"), ("--repetitions=0", "repetitions")],
)
def test_wrong_flags_are_errors(flag, message, command_line, capsys):
    with pytest.raises(SystemExit) as stopped:
        command_line(flag, program="benchmarks.main")
    assert stopped.value.code and message in str(stopped.value) + "".join(capsys.readouterr())


def test_missing_peers_are_named(command_line, monkeypatch):
    monkeypatch.setattr(peers, "PACKAGES", ("no_such_peer",))
    with pytest.raises(SystemExit, match="quality need no_such_peer, the peers of requirements-bench.txt"):
        command_line("--only=step", program="benchmarks.main")


@pytest.mark.parametrize("dataset", timed_training.FLOWS)
def test_flows_of_equal_time_take_their_options(dataset):
    for config, options in timed_training.FLOWS[dataset].values():
        config = importlib.import_module(f"train.configs.{config}").get_config()
        assert {*config.model, *options} <= {*inspect.signature(getattr(rnvp, config.architecture)).parameters}


@pytest.mark.parametrize(("in_float32", "dtype"), [(True, "float32"), (False, "mixed_bfloat16")])
def test_flows_of_equal_time_are_in_the_precision_of_the_machine(in_float32, dtype):
    assert timed_training.Training("cifar10_fast", {}, "cifar10", in_float32).config.model.dtype == dtype


def test_curves_of_equal_time_are_drawn(tmp_path):
    timed_training.draw({"one": {"1.0": 5.0, "2.0": 4.0}, "two": {"1.0": 6.0, "2.0": 5.0}}, tmp_path / "curves.png")
    with PIL.Image.open(tmp_path / "curves.png") as picture:
        assert np.asarray(picture).std() > 0


@pytest.mark.parametrize("channels", [1, 3])
def test_formats_and_the_codec_give_the_images_back(channels):
    images = np.random.default_rng(0).integers(120, 136, [6, 4, 4, channels]).astype(np.uint8)
    model = rnvp.SubpixelFlow(images.shape[1:], num_scales=1, filters=4, num_blocks=1, dequantization="exact", seed=0)
    formats = {name: coders.FORMATS[name] for name in ("PNG", "WebP, lossless")}
    *rows, ideal = coders.compared(model, images, 3, formats)  # It compares the decoded images.
    assert [row["coder"] for row in rows[:2]] == list(formats)
    assert ("±" in rows[0], "±" in rows[2]) == (True, False)  # Of files, not of one mosaic.
    assert float(rows[-1]["bits/dim"]) > float(ideal["bits/dim"]) > 4  # bits, of 16 levels at random


@pytest.mark.parametrize("name", anomaly.TABLES)
def test_a_table_has_ordinary_rows_in_training_and_its_anomalies_in_the_test(name):
    training, tested, is_anomaly = anomaly.split_table(name, seed=1)
    ordinary = tested[is_anomaly == 0]
    np.testing.assert_allclose(training.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(training.std(axis=0), 1, atol=1e-4)
    assert np.all(training[len(training) // 5 :].std(axis=0) > 0)  # as the flow's standardization asks
    assert 0 <= len(training) - len(ordinary) <= 1 and training.dtype == tested.dtype == np.float32
    if name == "diabetes":
        np.testing.assert_allclose(np.sort(tested[is_anomaly == 1], axis=0), np.sort(ordinary, axis=0))
    else:
        sizes = {"iris": (100, 50), "wine": (130, 48), "breast cancer": (357, 212), "digits": (1623, 174)}
        assert (len(training) + len(ordinary), is_anomaly.sum()) == sizes[name]


def test_detectors_of_a_table_are_averaged_over_the_seeds(monkeypatch):
    truth = {}
    monkeypatch.setattr(anomaly, "TABLES", {"iris": anomaly.TABLES["iris"]})
    monkeypatch.setattr(
        anomaly,
        "split_table",
        lambda name, seed: truth.setdefault(seed, (np.zeros([4, 2]), np.eye(4), np.array([0, 0, 1, 1]))),
    )
    detectors = {"right": lambda *_: [0, 0, 1, 1], "by seed": lambda training, tested, seed: [seed, 0, 1, 1]}
    monkeypatch.setattr(anomaly, "DETECTORS", detectors)
    row, mean = anomaly.compared(seeds=2)
    assert (row["right"], row["by seed"], mean["by seed"]) == (1.0, 0.875, 0.875)
    assert (row["training rows"], row["anomalies"]) == (4, 2)


def test_the_fillings_of_hidden_pixels_are_compared(monkeypatch):
    model = rnvp.SubpixelFlow((4, 4, 1), num_scales=1, filters=2, num_blocks=1, num_bins=17, seed=0)
    images = np.random.default_rng(0).integers(17, size=[3, 4, 4, 1]).astype("uint8")
    monkeypatch.setattr(fillings, "biharmonic", lambda images, known, num_bins: images + 1.6)
    known = fillings.known_pixels("refine", (4, 4, 1))
    rows = fillings.compared(
        model, images, images, known, lambda: fillings.drawn(model, "refine", images, known, 4, seed=0)
    )
    by_name = {row["filling"]: row for row in rows}
    assert len(by_name) == 4 and by_name["biharmonic"]["PSNR in dB"] == pytest.approx(20)
    assert by_name["biharmonic"]["±"] == pytest.approx(0, abs=1e-6)
    single, mean = by_name["tfp_realnvp, a single draw"], by_name["tfp_realnvp, mean of the draws"]
    assert single["PSNR in dB"] < mean["PSNR in dB"] and single["±"] > 0
    assert np.array_equal(fillings.known_pixels("bottom", (4, 4, 1))[:, 0, 0], [True, True, False, False])


def test_every_question_is_answered_by_a_saved_flow(tmp_path, eagerly):
    saved = ours.Saved(dict(event_shape=(4, 4, 1), num_scales=1, filters=2, num_blocks=1), tmp_path / "flow.keras")
    saved.write()
    assert saved.load().compiled and not saved.load_without_optimizer().compiled
    for question in first_answer.QUESTIONS:
        getattr(saved, question)()


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
