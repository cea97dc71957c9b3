"""Small data sets that need no download: name → arrays, the same in every run."""

from collections.abc import Callable

import numpy as np
import sklearn.datasets

from .arrays import Arrays

LINEAR_MAP = np.random.default_rng(2).normal(size=[4, 3])  # of gaussian_linear; 0 and 1 are the splits' seeds
LINEAR_NOISE = 0.5


def digits() -> Arrays:
    """scikit-learn's 1,797 digits of 8×8 pixels and 17 levels, each with its class, the digit."""
    bunch = sklearn.datasets.load_digits()
    images = bunch.images[..., np.newaxis].astype(np.uint8)
    return Arrays(_random_splits(images, bunch.target, validation=100, test=300), num_bins=17, num_classes=10)


def breast_cancer() -> Arrays:
    """scikit-learn's 569 tumors: 30 measurements of each, unscaled, with its class, malignant (0) or benign (1)."""
    bunch = sklearn.datasets.load_breast_cancer()
    return Arrays(_random_splits(bunch.data.astype(np.float32), bunch.target, validation=57, test=114), num_classes=2)


def moons() -> Arrays:
    """Two interleaved half circles with noise 0.05; a point's class is its half circle."""
    sample_points = lambda size, seed: sklearn.datasets.make_moons(size, noise=0.05, random_state=seed)
    return _sampled_arrays(sample_points, num_classes=2)


def eight_gaussians() -> Arrays:
    """Normal distributions of deviation √2/4, evenly on a circle of radius 2√2; a point's class is its normal."""

    def sample_points(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        labels = rng.integers(8, size=size)
        angles = labels * np.pi / 4
        centers = 2 * np.sqrt(2) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return centers + np.sqrt(2) / 4 * rng.normal(size=[size, 2]), labels

    return _sampled_arrays(sample_points, num_classes=8)


def pinwheel() -> Arrays:
    """Five curved arms around the origin; a point's class is its arm."""

    def sample_points(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        labels = rng.integers(5, size=size)
        along, across = 1 + 0.3 * rng.normal(size=size), 0.1 * rng.normal(size=size)
        angles = labels * 2 * np.pi / 5 + 0.25 * np.exp(along)
        cos, sin = np.cos(angles), np.sin(angles)
        return 2 * np.stack([along * cos + across * sin, across * cos - along * sin], axis=1), labels

    return _sampled_arrays(sample_points, num_classes=5)


def checkerboard() -> Arrays:
    """Uniform on every other one of the 2×2 squares of [−4, 4]²."""

    def sample_points(size: int, seed: int) -> tuple[np.ndarray]:
        rng = np.random.default_rng(seed)
        x, y = rng.uniform(0, 4, size), rng.uniform(0, 1, size) + 2 * rng.integers(2, size=size)
        return (2 * np.stack([x, y + np.floor(x) % 2], axis=1) - 4,)

    return _sampled_arrays(sample_points)


def gaussian_linear() -> Arrays:
    """Parameters θ ~ N(0, I) in R³ and their observations y = Aθ + ½ε in R⁴ with ε ~ N(0, I), A fixed.

    The parameters are the events, the observations their contexts.
    """

    def sample_points(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        theta = rng.normal(size=[size, 3])
        return theta, theta @ LINEAR_MAP.T + LINEAR_NOISE * rng.normal(size=[size, 4])

    return _sampled_arrays(sample_points, num_train=50_000, context_size=4)


def gaussian_linear_posterior(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The exact posterior p(θ | y) of `gaussian_linear`, a normal distribution.

    ```none
    covariance = (I + AᵀA / ¼)⁻¹,    mean = covariance Aᵀ y / ¼
    ```

    Args:
      y: array [N, 4] of contexts.

    Returns:
      `(mean, covariance)`, arrays [N, 3] and [3, 3].

    Example: `mean, covariance = gaussian_linear_posterior(y)`
    """
    covariance = np.linalg.inv(np.eye(3) + LINEAR_MAP.T @ LINEAR_MAP / LINEAR_NOISE**2)
    return y @ LINEAR_MAP @ covariance / LINEAR_NOISE**2, covariance


SETS: dict[str, Callable[[], Arrays]] = {
    function.__name__: function
    for function in (digits, breast_cancer, moons, eight_gaussians, pinwheel, checkerboard, gaussian_linear)
}


def _random_splits(*columns: np.ndarray, validation: int, test: int) -> dict[str, tuple[np.ndarray, ...]]:
    """The columns in a fixed random order, in three splits: first the training, last the test examples."""
    order = np.random.default_rng(0).permutation(len(columns[0]))
    parts = np.split(order, [-validation - test, -test])
    names = ("train", "validation", "test")
    return {name: tuple(column[part] for column in columns) for name, part in zip(names, parts, strict=True)}


def _sampled_arrays(
    sample_points: Callable[[int, int], tuple[np.ndarray, ...]],
    num_train: int = 20_000,
    num_test: int = 5_000,
    **context: int,
) -> Arrays:
    """The arrays of `sample_points`, a function (size, seed) ↦ columns, sampled separately for each split."""
    as_float32 = lambda column: column.astype(np.float32) if column.dtype.kind == "f" else column
    splits = {"train": sample_points(num_train, 0), "test": sample_points(num_test, 1)}
    return Arrays({name: tuple(map(as_float32, columns)) for name, columns in splits.items()}, **context)
