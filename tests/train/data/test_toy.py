"""The embedded and the sampled data sets, and a posterior that is known exactly."""

import numpy as np
import pytest
import scipy.stats
import sklearn.datasets
import tensorflow as tf

from tests.train.data.sets import columns, load, rows
from train import data, models
from train.configs import gaussian_linear
from train.data import toy
from train.optimizers import make_optimizer


def test_digits_are_8_by_8_with_17_levels():
    examples = load("digits", "train")
    assert (examples.event_shape, examples.num_bins, examples.size) == ((8, 8, 1), 17, 1397)
    assert examples.dataset.element_spec == tf.TensorSpec([8, 8, 1], tf.uint8)
    levels = {level for row in rows(examples) for level in row}
    assert levels == set(range(17))


def test_the_splits_of_the_digits_are_disjoint_and_hold_all():
    splits = {split: rows(load("digits", split)) for split in ("train", "validation", "test")}
    assert {split: len(found) for split, found in splits.items()} == {"train": 1397, "validation": 100, "test": 300}
    every_row = [row for found in splits.values() for row in found]
    assert len(every_row) == 1797 and len(set(every_row)) == 1797  # scikit-learn's digits are distinct.


@pytest.mark.parametrize("dataset", sorted({*toy.SETS} - {"gaussian_linear"}))
def test_a_split_is_the_same_every_time(dataset):
    assert rows(load(dataset, "test")) == rows(load(dataset, "test"))


def test_moons_are_points_of_the_plane_other_in_test_than_in_training():
    train, test = load("moons", "train"), load("moons", "test")
    assert (train.event_shape, train.num_bins, train.size, test.size) == ((2,), None, 20_000, 5_000)
    assert train.dataset.element_spec == tf.TensorSpec([2], tf.float32)
    assert not set(rows(train)) & set(rows(test))


def test_digits_come_with_what_they_are():
    found = sklearn.datasets.load_digits()
    which = {image.astype(np.uint8).tobytes(): label for image, label in zip(found.images, found.target, strict=True)}
    examples = load("digits", "test", conditional=True)
    assert (examples.num_classes, examples.context_size, examples.size) == (10, None, 300)
    images, labels = columns(examples)
    assert [which[image.tobytes()] for image in images] == labels.tolist()
    np.testing.assert_array_equal(images, columns(load("digits", "test")))  # The order is the same.


TOYS = [
    ("moons", (2,), 20_000, 5_000, 2),
    ("eight_gaussians", (2,), 20_000, 5_000, 8),
    ("pinwheel", (2,), 20_000, 5_000, 5),
    ("checkerboard", (2,), 20_000, 5_000, None),
    ("breast_cancer", (30,), 398, 114, 2),
]


@pytest.mark.parametrize(("dataset", "shape", "num_training", "num_test", "num_classes"), TOYS)
def test_toy_sets_are_vectors_with_labels(dataset, shape, num_training, num_test, num_classes):
    train, test = load(dataset, "train"), load(dataset, "test")
    for examples, size in [(train, num_training), (test, num_test)]:
        found = (examples.event_shape, examples.num_bins, examples.size, examples.num_classes, examples.context_size)
        assert found == (shape, None, size, None, None)
        assert examples.dataset.element_spec == tf.TensorSpec(shape, tf.float32)
    assert not set(rows(train)) & set(rows(test))
    if num_classes:
        examples = load(dataset, "test", conditional=True)
        assert (examples.num_classes, examples.context_size) == (num_classes, None)
        events, labels = columns(examples)
        assert set(labels) == set(range(num_classes))
        np.testing.assert_array_equal(events, columns(test))


def test_the_eight_gaussians_are_on_a_circle():
    points, labels = columns(load("eight_gaussians", "train", conditional=True))
    means = np.stack([points[labels == label].mean(0) for label in range(8)])
    np.testing.assert_allclose(means @ [1, 1j], 2 * np.sqrt(2) * np.exp(1j * np.pi / 4 * np.arange(8)), atol=0.05)
    np.testing.assert_allclose((points - means[labels]).std(0), np.sqrt(2) / 4, rtol=0.02)


def test_the_arms_of_the_pinwheel_are_one_turned():
    points, labels = columns(load("pinwheel", "train", conditional=True))
    turned = (points @ [1, 1j]) * np.exp(2j * np.pi / 5 * labels)
    means = np.array([turned[labels == label].mean() for label in range(5)])
    np.testing.assert_allclose(means, turned.mean(), atol=0.05)
    assert abs(turned.mean()) > 1 and abs(points.mean(0)).max() < 0.05


def test_the_checkerboard_is_uniform_on_every_other_square():
    points = columns(load("checkerboard", "train"))
    assert abs(points).max() <= 4
    squares = np.minimum(np.floor((points + 4) / 2).astype(int), 3)
    assert not (squares.sum(1) % 2).any()
    np.testing.assert_allclose(np.unique(squares, axis=0, return_counts=True)[1], [20_000 / 8] * 8, rtol=0.1)


def test_the_tumors_are_scikit_learns():
    found = sklearn.datasets.load_breast_cancer()
    splits = [columns(load("breast_cancer", split, conditional=True)) for split in ("train", "validation", "test")]
    assert [len(events) for events, _ in splits] == [398, 57, 114]
    events, labels = (np.concatenate(column) for column in zip(*splits, strict=True))
    assert sorted(zip(events.tolist(), labels, strict=True)) == sorted(
        zip(found.data.astype(np.float32).tolist(), found.target, strict=True)
    )


def test_the_parameters_have_the_posterior_given_what_is_seen_of_them():
    train, test = (load("gaussian_linear", split, conditional=True) for split in ("train", "test"))
    assert (train.event_shape, train.num_bins, train.num_classes, train.context_size) == ((3,), None, None, 4)
    assert (train.size, test.size) == (50_000, 5_000)
    assert train.dataset.element_spec == (tf.TensorSpec([3], tf.float32), tf.TensorSpec([4], tf.float32))
    theta, y = columns(train)
    mean, covariance = toy.gaussian_linear_posterior(y)
    assert (mean.shape, covariance.shape) == ((50_000, 3), (3, 3))
    np.testing.assert_allclose(np.cov((theta - mean).T), covariance, atol=0.01)
    np.testing.assert_allclose(
        y.T @ (theta - mean) / len(y), np.zeros([4, 3]), atol=0.03
    )  # The residual does not depend on y.
    np.testing.assert_allclose(np.cov(theta.T), np.eye(3), atol=0.03)


def test_the_exact_posterior_is_that_of_the_drawn_data():
    theta, y = toy.gaussian_linear().splits["train"]
    mean, covariance = toy.gaussian_linear_posterior(y)
    residual = theta - mean
    np.testing.assert_allclose(np.cov(residual.T), covariance, atol=0.01)
    assert np.abs(np.corrcoef(residual.T, y.T)[:3, 3:]).max() < 0.02


def test_a_conditional_flow_learns_the_posterior():
    config = gaussian_linear.get_config()
    config.update(epochs=4, batch_size=500, learning_rate=5e-3)
    config.model.update(num_couplings=4, hidden_units=(32,))
    examples = data.load(config, "train")
    model = models.new_flow(config, examples)
    batches = data.evaluation_batches(examples, 500)
    model.adapt(batches)
    model.compile(make_optimizer(config, steps_per_epoch=100))
    model.fit(batches, epochs=config.epochs, verbose=0)
    theta, y = toy.gaussian_linear().splits["test"]
    mean, covariance = toy.gaussian_linear_posterior(y)
    exact = scipy.stats.multivariate_normal(np.zeros(3), covariance).logpdf(theta - mean)
    divergence = np.mean(exact - model.predict(theta, context=y, batch_size=1000, verbose=0))  # KL(exact ‖ flow), nats
    assert -0.01 < divergence < 0.05


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
