"""The figures of the paper: their images by the paper's equations, and their files."""

import types

import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
import tensorflow_probability as tfp
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import tfp_realnvp as rnvp
from tests import laws
from train.figures import paper

tfd = tfp.distributions

DIGITS = sklearn.datasets.load_digits().images[..., np.newaxis].astype(np.uint8)
TRAINING, TEST = DIGITS[:200], DIGITS[200:240]
NAMES = {
    *("samples", "data_and_samples", "reconstructions", "manifold", "interpolation", "hierarchy"),
    *("samples_2x", "samples_10x", "nearest"),
}

pytestmark = pytest.mark.usefixtures("module_eagerly")


class Identity:
    """A model of one scale; its latents are the pixel levels, and its decoded levels are too large by `error`."""

    num_bins, base_distribution = 17, tfd.Sample(tfd.Normal(8.0, 4.0), (8, 8, 1))

    def __init__(self, event_shape=(8, 8, 1), error=0):
        self.event_shape, self.error = event_shape, error

    def sample(self, num_samples, temperature=1.0, seed=None, batch_size=256, image_size=None):
        assert temperature == 1
        height, width = image_size or self.event_shape[:2]
        shape = [num_samples, height, width, self.event_shape[2]]
        return np.random.default_rng(seed).integers(0, 17, shape, np.uint8)

    def encode(self, images, context=None):
        return images.astype(np.float32)

    def decode(self, z, context=None):
        return np.clip(np.round(z) + self.error, 0, 16).astype(np.uint8)

    def latents_by_scale(self, z):
        return [z]

    def join_latents(self, latents):
        return latents[0]


class Halves(Identity):
    """A model of two scales: the finer one is the upper half of the image."""

    def latents_by_scale(self, z):
        return [z[:, :4], z[:, 4:]]

    def join_latents(self, latents):
        return np.concatenate(latents, axis=1)


@pytest.fixture(scope="module")
def model():
    """A flow of two scales with random weights."""
    model = rnvp.Glow((8, 8, 1), num_scales=2, steps_per_scale=1, filters=2, num_bins=17, seed=0)
    laws.randomize_weights(model.weights)
    model.compile()
    model.optimizer.iterations.assign(7)
    return model


def panels(figure):
    return [panel.images for panel in figure.panels]


# Equation 19.


def test_equation_19_at_right_angles_gives_the_four_latents():
    z1, z2, z3, z4 = z = np.random.default_rng(0).normal(size=[4, 3, 2]).astype(np.float32)
    manifold = paper.manifold_latents(z, 4)
    assert (manifold.shape, manifold.dtype) == ((4, 4, 3, 2), np.float32)
    quarter, half, three_quarters = 1, 2, 3
    for phi, phi_prime, expected in [
        (0, 0, z1),
        (0, quarter, z2),
        (quarter, 0, z3),
        (quarter, quarter, z4),
        (0, half, -z1),
        (half, 0, -z1),
        (half, half, z1),
        (0, three_quarters, -z2),
        (three_quarters, quarter, -z4),
    ]:
        np.testing.assert_allclose(manifold[phi, phi_prime], expected, atol=1e-6)


def test_equation_19_between_them():
    z1, z2, z3, z4 = z = np.random.default_rng(1).normal(size=[4, 5])
    phi, phi_prime = 2 * np.pi / 12, 4 * 2 * np.pi / 12  # 30° and 120°
    expected = np.cos(phi) * (np.cos(phi_prime) * z1 + np.sin(phi_prime) * z2)
    expected += np.sin(phi) * (np.cos(phi_prime) * z3 + np.sin(phi_prime) * z4)
    np.testing.assert_allclose(paper.manifold_latents(z, 12)[1, 4], expected)


def test_the_manifold_holds_the_four_images_that_stand_beside_it():
    figure = paper.manifold(Identity(), TEST)
    manifold, corners = panels(figure)
    assert (manifold.shape, corners.shape) == ((8, 8, 8, 8, 1), (4, 1, 8, 8, 1))
    np.testing.assert_array_equal(corners[:, 0], TEST[:4])
    np.testing.assert_array_equal(manifold[[0, 0, 2, 2], [0, 2, 0, 2]], TEST[:4])
    np.testing.assert_array_equal(manifold[0, 1], Identity().decode((TEST[0] + TEST[1].astype(float)) / np.sqrt(2)))
    angles = ["0", "π/4", "π/2", "3π/4", "π", "5π/4", "3π/2", "7π/4"]
    assert figure.panels[0].row_labels == [f"φ = {angle}" for angle in angles]
    assert figure.panels[0].titles == [[f"φ′ = {angle}" for angle in angles]]


# Interpolation.


def test_the_line_between_latents():
    start, end = np.random.default_rng(0).normal(size=[2, 3, 4]).astype(np.float32)
    line = paper.interpolated_latents(start, end, 5)
    assert (line.shape, line.dtype) == ((3, 5, 4), np.float32)
    np.testing.assert_array_equal(line[:, 0], start)
    np.testing.assert_array_equal(line[:, 4], end)
    np.testing.assert_allclose(line[:, 1], 0.75 * start + 0.25 * end, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("number", "pairs"), [(8, 4), (9, 4), (40, 6)])
def test_an_interpolation_begins_and_ends_with_data(number, pairs):
    (panel,) = paper.interpolation(Identity(error=1), TEST[:number]).panels
    start, end = TEST[:pairs], TEST[pairs : 2 * pairs]
    assert panel.images.shape == (pairs, 9, 8, 8, 1)
    np.testing.assert_array_equal(panel.images[:, 0], start)
    np.testing.assert_array_equal(panel.images[:, 8], end)
    expected = Identity(error=1).decode(0.75 * start + 0.25 * end)
    np.testing.assert_array_equal(panel.images[:, 2], expected)
    assert panel.titles[0][::4] == ["data", "t = 1/2", "data"]


# The hierarchy of latents.


def test_the_coarsest_latents_are_kept_and_the_others_replaced(model):
    z, others = np.random.default_rng(0).normal(size=[2, 5, 8, 8, 1]).astype(np.float32)
    finest, coarsest = model.latents_by_scale(z)
    np.testing.assert_array_equal(paper.coarse_latents(model, z, 2, others), z)
    np.testing.assert_array_equal(paper.coarse_latents(model, z, 0, others), others)
    for replacement in (others, np.zeros_like(z)):
        kept = model.latents_by_scale(paper.coarse_latents(model, z, 1, replacement))
        np.testing.assert_array_equal(kept[0], model.latents_by_scale(replacement)[0])
        np.testing.assert_array_equal(kept[1], coarsest)


def test_the_hierarchy_has_a_column_a_scale():
    figure = paper.hierarchy(Halves(), TEST, seed=3)
    assert all(panel.titles == [["data", "100 %", "50 %"]] for panel in figure.panels)
    drawn, zero = panels(figure)
    assert drawn.shape == zero.shape == (8, 3, 8, 8, 1)
    for images in (drawn, zero):
        np.testing.assert_array_equal(images[:, 0], TEST[:8])
        np.testing.assert_array_equal(images[:, 1], TEST[:8])
        np.testing.assert_array_equal(images[:, 2, 4:], TEST[:8, 4:])
    assert not zero[:, 2, :4].any()
    upper = drawn[:, 2, :4]
    assert 7 < upper.mean() < 9 and 3 < upper.std() < 4.5  # of the base distribution
    assert len(np.unique(upper, axis=0)) == 8


def test_the_hierarchy_of_a_flow(model):
    """All latents give the image; the coarse latents alone give another image, decoded from them."""
    z = model.encode(TEST[:8])
    for images in panels(paper.hierarchy(model, TEST)):
        np.testing.assert_array_equal(images[:, :2], np.stack([TEST[:8]] * 2, axis=1))
    np.testing.assert_array_equal(images[:, 2], model.decode(paper.coarse_latents(model, z, 1, 0 * z)))
    assert (images[:, 2] != images[:, 1]).mean() > 0.1


def test_the_latents_drawn_anew_are_seeded():
    drawn = [panels(paper.hierarchy(Halves(), TEST, seed))[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


def test_the_hierarchy_of_one_scale_has_one_column():
    figure = paper.hierarchy(Identity(), TEST)
    assert [images.shape[:2] for images in panels(figure)] == [(8, 2)] * 2
    assert figure.panels[0].titles == [["data", "100 %"]]


# Samples, reconstructions, neighbors.


@pytest.mark.parametrize(("number", "rows"), [(8, 1), (15, 1), (40, 5), (80, 8)])
def test_as_many_samples_as_data(number, rows):
    data, drawn = panels(paper.data_and_samples(Identity(), DIGITS[:number], seed=5))
    assert data.shape == drawn.shape == (rows, 8, 8, 8, 1)
    np.testing.assert_array_equal(data.reshape(-1, 8, 8, 1), DIGITS[: 8 * rows])
    np.testing.assert_array_equal(drawn.reshape(-1, 8, 8, 1), Identity().sample(8 * rows, seed=5))


@pytest.mark.parametrize(("factor", "number", "grid"), [(2, 4, (2, 2)), (10, 1, (1, 1))])
def test_larger_samples(factor, number, grid):
    (images,) = panels(paper.larger_samples(Identity((8, 4, 3)), factor, number))
    assert images.shape == (*grid, factor * 8, factor * 4, 3)


@pytest.mark.parametrize("error", [0, 3])
def test_a_reconstruction_tells_its_largest_difference(error):
    figure = paper.reconstructions(Identity(error=error), TEST)
    ((images, decoded, difference),) = panels(figure)
    np.testing.assert_array_equal(images, TEST[:12])
    np.testing.assert_array_equal(decoded, np.minimum(TEST[:12].astype(int) + error, 16))
    np.testing.assert_array_equal(difference, decoded - images)
    assert f"difference is {error} of 16 levels" in figure.caption


def test_copies_are_found_at_distance_zero():
    distances, indices = paper.nearest_neighbors(TRAINING[[17, 3]], TRAINING, 3)
    assert indices[:, 0].tolist() == [17, 3] and distances[:, 0].tolist() == [0, 0]
    every = np.sqrt(((TRAINING[[17, 3], None] - TRAINING.astype(float)) ** 2).sum((2, 3, 4)))
    np.testing.assert_allclose(distances, np.sort(every)[:, :3], rtol=1e-6)


def test_samples_stand_before_their_neighbors_and_a_copy_shows():
    copies = types.SimpleNamespace(num_bins=17, sample=lambda number, seed: TRAINING[:number])
    (panel,) = (figure := paper.nearest(copies, TRAINING, TRAINING[50:60] ^ 1)).panels
    assert panel.images.shape == (6, 9, 8, 8, 1)
    np.testing.assert_array_equal(panel.images[:, 0], TRAINING[:6])
    np.testing.assert_array_equal(panel.images[:, 1], TRAINING[:6])
    distance = np.sqrt(((panel.images[2, 5] - TRAINING[2].astype(float)) ** 2).sum())
    assert (panel.titles[2][0], panel.titles[2][1], panel.titles[2][5]) == ("sample", "0.0", f"{distance:.1f}")
    assert "nearest of 200 training images" in figure.caption
    assert "it is 8.0, the median of 10." in figure.caption  # 64 pixels, each off by one


# The files.


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    """Two runs with the same seed."""
    runs = [tmp_path_factory.mktemp("run") for _ in range(2)]
    paths = [paper.write_figures(model, TRAINING, TEST, run / "not/there", run / "tensorboard", seed=2) for run in runs]
    return runs, paths


def test_every_figure_is_a_png_file(written):
    (run, _), (paths, _) = written
    assert {path.stem for path in paths} == NAMES and len(paths) == len(NAMES)
    assert sorted((run / "not/there").iterdir()) == sorted(paths)
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("PNG", "RGB")
            assert 500 < image.width <= 1600 and image.height <= 1600
            assert len(np.unique(np.asarray(image))) > 10
        assert path.stat().st_size < 500_000


def test_tensorboard_has_the_same_pictures_at_the_optimizers_step(written):
    (run, _), (paths, _) = written
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert set(events.Tags()["tensors"]) == NAMES
    for path in paths:
        (event,) = events.Tensors(path.stem)
        assert event.step == 7
        with Image.open(path) as image:
            np.testing.assert_array_equal(tf.io.decode_png(event.tensor_proto.string_val[2]), np.asarray(image))


def test_a_seed_gives_the_same_files(written):
    _, paths = written
    for one, other in zip(*paths, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_another_seed_gives_other_samples(model):
    ((one,), (other,)) = (panels(paper.samples(model, seed)) for seed in (0, 1))
    assert one.shape == (8, 8, 8, 8, 1) and (one != other).any()


@pytest.mark.parametrize(
    ("training", "test", "message"),
    [
        (TRAINING[:7], TEST, "training_images must hold at least 8 images; got 7"),
        (TRAINING, TEST[:7], "test_images must hold at least 8 images; got 7"),
        (TRAINING, TEST[:, :4], r"test_images must have shape \[N\] \+ \(8, 8, 1\); got \(40, 4, 8, 1\)"),
    ],
)
def test_too_few_images_or_others_are_refused(training, test, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        paper.write_figures(Identity(), training, test, tmp_path, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_model_of_vectors_is_refused(tmp_path):
    message = r"figures need a model of images, or FFJORD in the plane; got events of shape \(2,\)"
    with pytest.raises(ValueError, match=message):
        paper.write_figures(Identity((2,)), TRAINING, TEST, tmp_path, tmp_path)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
