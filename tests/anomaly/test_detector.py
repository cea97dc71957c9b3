"""Detectors: uniform p-values, files, and the exported signature."""

import json

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests.laws import randomize_weights
from tfp_realnvp.anomaly import Complexity, Detector, Likelihood, Ratio, Statistics, Typicality

RANDOM = np.random.default_rng(0)


def flow(seed=0, **options):
    model = rnvp.VectorRealNVP((2,), num_couplings=2, hidden_units=[4], seed=0, **options)
    randomize_weights(model.trainable_weights, seed)
    return model


@pytest.fixture(scope="module")
def model():
    return flow()


@pytest.fixture(scope="module")
def samples(model):
    return model.sample(3000, seed=0)


@pytest.fixture(scope="module")
def detector(model, samples):
    detector = Detector(model)
    detector.calibrate(samples[:1000])
    return detector


@pytest.mark.parametrize("score", ["auto", Typicality(), Typicality(5), Statistics(complexity=False)])
def test_p_values_of_fresh_samples_are_uniform(model, samples, score):
    detector = Detector(model, score)
    detector.calibrate(samples[:1500], batch_size=1500)
    p_values = detector.p_values(samples[1500:], batch_size=1500)
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01


def test_a_vector_is_odd_where_it_is_unlikely(model, detector, samples):
    far = samples[:5] + 30
    assert np.all(detector.is_anomaly(far, false_alarms=0.001)) and np.all(detector.p_values(far) == 1 / 1001)
    assert np.mean(detector.is_anomaly(samples[1000:], false_alarms=0.1)) == pytest.approx(0.1, abs=0.04)
    bits = -model.predict(samples[:7], verbose=0) / (2 * np.log(2))
    np.testing.assert_allclose(detector.oddness(samples[:7]), bits, rtol=1e-5)


def test_the_default_score_fits_the_events(model):
    images = lambda channels: rnvp.NICE((2, 2, channels), hidden_units=[2], seed=0)
    assert Detector(model).score == Likelihood()
    assert Detector(images(3)).score == Statistics()
    assert Detector(images(5)).score == Statistics(complexity=False)
    uniform = tfp.distributions.Independent(tfp.distributions.Uniform(np.zeros([2, 2, 1], np.float32), 256.0), 3)
    assert Detector(rnvp.FlowModel(uniform, seed=0)).score == Typicality()


@pytest.mark.parametrize("score", [Likelihood(), Typicality(2), Statistics(complexity=False)])
def test_a_saved_detector_gives_the_same_p_values(model, samples, score, tmp_path):
    detector = Detector(model, score)
    detector.calibrate(samples[:80])
    detector.save(tmp_path / "detector.npz")
    model.save(tmp_path / "model.keras")
    loaded = Detector.load(tmp_path / "detector.npz", rnvp.load_model(tmp_path / "model.keras"))
    assert loaded.score == score and sorted(path.name for path in tmp_path.iterdir()) == ["detector.npz", "model.keras"]
    np.testing.assert_array_equal(loaded.p_values(samples[80:160]), detector.p_values(samples[80:160]))


def test_a_ratio_is_loaded_with_its_second_flow(model, detector, samples, tmp_path):
    general = flow(seed=1)
    ratio = Detector(model, Ratio(general))
    ratio.calibrate(samples[:50])
    ratio.save(tmp_path / "ratio.npz")
    loaded = Detector.load(tmp_path / "ratio.npz", model, general_model=general)
    np.testing.assert_array_equal(loaded.p_values(samples[:9]), ratio.p_values(samples[:9]))
    for wrong in (None, model):
        with pytest.raises(ValueError, match="general_model must be the second flow of the detector's Ratio; got"):
            Detector.load(tmp_path / "ratio.npz", model, general_model=wrong)
    detector.save(tmp_path / "detector.npz")
    with pytest.raises(ValueError, match="general_model must be None for the score Likelihood, which has no second"):
        Detector.load(tmp_path / "detector.npz", model, general_model=general)


def test_detectors_of_other_flows_are_refused(model, detector, tmp_path):
    detector.save(tmp_path / "detector.npz")
    wider = flow(activation="tanh")
    wider.set_weights(model.get_weights())
    for other in (flow(seed=1), wider):
        with pytest.raises(ValueError, match="model must be the flow of the detector .*, with the same weights; got"):
            Detector.load(tmp_path / "detector.npz", other)
    renamed = rnvp.VectorRealNVP.from_config({**model.get_config(), "name": "renamed", "seed": 5})
    renamed.set_weights(model.get_weights())
    assert Detector.load(tmp_path / "detector.npz", renamed).score == Likelihood()


def test_other_files_are_refused(model, detector, tmp_path):
    path = tmp_path / "detector.npz"
    with pytest.raises(ValueError, match="filepath must be a detector's file; there is no file"):
        Detector.load(path, model)
    detector.save(path)
    whole = path.read_bytes()
    for data in (b"", b"text", whole[:-30], whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="is damaged, or no file of a detector"):
            Detector.load(path, model)
    np.savez(path, header=json.dumps({"format": 2}), oddness=np.zeros(20))
    with pytest.raises(ValueError, match="must be 1; got 2, of another version"):
        Detector.load(path, model)
    with pytest.raises(ValueError, match="filepath must end in .npz; got 'detector.keras'"):
        detector.save("detector.keras")


def test_wrong_arguments_are_refused(model, detector, samples):
    fresh = Detector(model)
    for call in (fresh.p_values, fresh.oddness, fresh.is_anomaly):
        with pytest.raises(ValueError, match="detector must be calibrated with held-out events first"):
            call(samples)
    with pytest.raises(ValueError, match="held_out must have at least 20 events; got 19"):
        fresh.calibrate(samples[:19])
    for rate in (0.0, 0.0009, 1.0):
        with pytest.raises(ValueError, match=rf"false_alarms must be from 1/\(n \+ 1\) = 0.000999, .*; got {rate}"):
            detector.is_anomaly(samples, false_alarms=rate)
    with pytest.raises(ValueError, match="score must be \"auto\" or a Score; got 'likelihood'"):
        Detector(model, "likelihood")
    with pytest.raises(ValueError, match="for Complexity"):
        Detector(model, Complexity())
    pairs = Detector(model, Typicality(2))
    pairs.calibrate(samples[:80])
    with pytest.raises(ValueError, match="data must have a multiple of group_size = 2 events; got 3"):
        pairs.p_values(samples[:3])
    with pytest.raises(ValueError, match=r"data must have shape \[N\] \+ \(2,\); got \(5, 3\)"):
        detector.p_values(np.zeros([5, 3], np.float32))


def test_the_exported_signature_gives_the_p_values(tmp_path):
    model, labels = flow(num_classes=2), RANDOM.integers(2, size=60)
    samples = model.sample(60, seed=0, labels=labels)
    detector = Detector(model)
    detector.calibrate((samples[:50], labels[:50]))
    detector.export(tmp_path / "1")
    signatures = tf.saved_model.load(tmp_path / "1").signatures
    assert {*signatures} >= {"log_prob", "sample", "p_value"}
    result = signatures["p_value"](vectors=tf.constant(samples[50:]), labels=tf.constant(labels[50:]))
    data = (samples[50:], labels[50:])
    np.testing.assert_allclose(result["oddness"], detector.oddness(data), rtol=1e-5)
    np.testing.assert_allclose(result["p_value"], detector.p_values(data), rtol=1e-12)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
