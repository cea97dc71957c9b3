"""Small data sets that need no download: name → arrays, the same in every run."""

import dataclasses

import numpy as np
import sklearn.datasets

LINEAR_MAP = np.random.default_rng(2).normal(size=[4, 3])  # of gaussian_linear; 0 and 1 are the splits' seeds
LINEAR_NOISE = 0.5


@dataclasses.dataclass(frozen=True)
class Arrays:
    """A data set in memory.

    Attributes:
      splits: dictionary, name of a split ↦ tuple of arrays of one length: the events and, where there are any, their
        contexts: labels [N] or vectors [N, context_size].
      num_bins, num_classes, context_size: as those of `data.Examples`.
    """

    splits: dict
    num_bins: int | None = None
    num_classes: int | None = None
    context_size: int | None = None


def digits():
    """scikit-learn's 1,797 digits of 8×8 pixels and 17 levels, and which digit each is."""
    found = sklearn.datasets.load_digits()
    images = found.images[..., np.newaxis].astype(np.uint8)
    return Arrays(_held_out(images, found.target, validation=100, test=300), num_bins=17, num_classes=10)


def breast_cancer():
    """scikit-learn's 569 tumors: 30 measurements of each as they are, and whether it is malignant (0) or benign (1)."""
    found = sklearn.datasets.load_breast_cancer()
    return Arrays(_held_out(found.data.astype(np.float32), found.target, validation=57, test=114), num_classes=2)


def moons():
    """Two interleaved half circles with noise 0.05, and which of them a point is from."""
    return _drawn(lambda size, seed: sklearn.datasets.make_moons(size, noise=0.05, random_state=seed), num_classes=2)


def eight_gaussians():
    """Normal distributions of deviation √2/4 evenly on a circle of radius 2√2, and which of them a point is from."""

    def draw(size, seed):
        rng = np.random.default_rng(seed)
        labels = rng.integers(8, size=size)
        angles = labels * np.pi / 4
        centers = 2 * np.sqrt(2) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return centers + np.sqrt(2) / 4 * rng.normal(size=[size, 2]), labels

    return _drawn(draw, num_classes=8)


def pinwheel():
    """Five curved arms around the origin, and which of them a point is from."""

    def draw(size, seed):
        rng = np.random.default_rng(seed)
        labels = rng.integers(5, size=size)
        along, across = 1 + 0.3 * rng.normal(size=size), 0.1 * rng.normal(size=size)
        angles = labels * 2 * np.pi / 5 + 0.25 * np.exp(along)
        cos, sin = np.cos(angles), np.sin(angles)
        return 2 * np.stack([along * cos + across * sin, across * cos - along * sin], axis=1), labels

    return _drawn(draw, num_classes=5)


def checkerboard():
    """Uniform on every other of the 2×2 squares of [−4, 4]²."""

    def draw(size, seed):
        rng = np.random.default_rng(seed)
        x, y = rng.uniform(0, 4, size), rng.uniform(0, 1, size) + 2 * rng.integers(2, size=size)
        return (2 * np.stack([x, y + np.floor(x) % 2], axis=1) - 4,)

    return _drawn(draw)


def gaussian_linear():
    """Parameters θ ~ N(0, I) in R³ given what is seen of them: y = Aθ + ½ε in R⁴ with ε ~ N(0, I), A fixed."""

    def draw(size, seed):
        rng = np.random.default_rng(seed)
        theta = rng.normal(size=[size, 3])
        return theta, theta @ LINEAR_MAP.T + LINEAR_NOISE * rng.normal(size=[size, 4])

    return _drawn(draw, num_train=50_000, context_size=4)


def gaussian_linear_posterior(y):
    """What the flow of gaussian_linear is to learn: p(θ | y), which is normal.

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


SETS = {
    function.__name__: function
    for function in (digits, breast_cancer, moons, eight_gaussians, pinwheel, checkerboard, gaussian_linear)
}


def _held_out(*columns, validation, test):
    """The columns in an order drawn once, in three splits: the test examples last, the validation ones before them."""
    order = np.random.default_rng(0).permutation(len(columns[0]))
    parts = np.split(order, [-validation - test, -test])
    names = ("train", "validation", "test")
    return {name: tuple(column[part] for column in columns) for name, part in zip(names, parts, strict=True)}


def _drawn(draw, num_train=20_000, num_test=5_000, **context):
    """The arrays of `draw`, a function (size, seed) ↦ columns, drawn anew for each split."""
    floats = lambda column: column.astype(np.float32) if column.dtype.kind == "f" else column
    splits = {"train": draw(num_train, 0), "test": draw(num_test, 1)}
    return Arrays({name: tuple(map(floats, columns)) for name, columns in splits.items()}, **context)
