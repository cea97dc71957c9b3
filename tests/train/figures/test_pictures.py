"""Pictures of samples: their sizes and levels, and the files."""

import numpy as np
import pytest
from PIL import Image

from train.figures import panels, pictures


def of_level(level, shape=(1, 2, 2, 1)):
    return np.full(shape, level, np.uint8)


@pytest.mark.parametrize(("num_bins", "level", "gray"), [(17, 16, 255), (17, 8, 128), (17, 0, 0), (256, 77, 77)])
def test_the_highest_level_is_white_and_zero_black(num_bins, level, gray):
    np.testing.assert_array_equal(panels.image_grid(of_level(level), num_bins, zoom=1), np.full([2, 2, 3], gray))


def test_one_bin_is_black():
    assert not panels.image_grid(of_level(0), num_bins=1).any()


@pytest.mark.parametrize(
    ("number", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 2, 2), (5, 2, 3), (16, 4, 4), (17, 4, 5)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_grid_is_as_square_as_it_gets_with_a_dark_line_between_images(number, rows, columns, channels):
    grid = panels.image_grid(of_level(255, (number, 2, 3, channels)), 256, zoom=1)
    assert (grid.shape, grid.dtype) == ((3 * rows - 1, 4 * columns - 1, 3), np.uint8)
    assert not grid[2::3].any() and not grid[:, 3::4].any()
    assert (grid > 0).sum() == number * 2 * 3 * 3


def test_images_stand_in_reading_order_with_their_colors():
    images = np.arange(1, 13, dtype=np.uint8).reshape(4, 1, 1, 3)
    grid = panels.image_grid(images, 256, zoom=1)
    np.testing.assert_array_equal(grid[::2, ::2].reshape(4, 1, 1, 3), images)


def test_a_gray_image_has_three_equal_channels():
    images = np.random.default_rng(0).integers(0, 17, [5, 4, 4, 1])
    grid = panels.image_grid(images, 17)
    np.testing.assert_array_equal(grid, np.broadcast_to(grid[..., :1], grid.shape))


def test_small_pictures_are_enlarged_without_blur():
    image = np.array([[0, 50], [100, 150]], np.uint8).reshape(1, 2, 2, 1)
    grid = panels.image_grid(image, 256)
    assert grid.shape == (512, 512, 3)
    np.testing.assert_array_equal(grid[..., 0], np.kron(image[0, :, :, 0], np.ones([256, 256], int)))


def test_rows_of_another_length_and_lines_of_another_gray():
    grid = panels.image_grid(of_level(0, (4, 2, 2, 1)), 256, zoom=2, columns=4, line=200)
    assert grid.shape == (4, 22, 3)
    expected = np.repeat([0, 0, 200, 0, 0, 200, 0, 0, 200, 0, 0], 2)
    np.testing.assert_array_equal(grid, np.broadcast_to(expected[:, np.newaxis], grid.shape))


# A figure of labelled images.


def noise(*shape):
    return np.random.default_rng(0).integers(0, 17, shape)


def box(pixels):
    """The edges of the colored part (all text is gray): top, bottom, left, right."""
    rows, columns = np.nonzero((pixels != pixels[..., :1]).any(-1))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def test_a_figure_holds_its_images_pixel_for_pixel():
    one, other = noise(2, 3, 20, 30, 3), 16 - noise(1, 1, 20, 30, 3)
    pixels = panels.ImageFigure([panels.Panel("a", one), panels.Panel("b", other)], 17, "Caption.").draw()
    zoom = 1300 // (4 * 31)
    top, bottom, left, right = box(pixels)
    grid = panels.image_grid(one.reshape(6, 20, 30, 3), 17, zoom, columns=3, line=255)
    np.testing.assert_array_equal(pixels[top:bottom, left : left + grid.shape[1]], grid)
    grid = panels.image_grid(other[0], 17, zoom)
    np.testing.assert_array_equal(pixels[top : top + grid.shape[0], right - grid.shape[1] : right], grid)
    assert right - left > (3 * 31 + 30) * zoom


def test_a_figure_has_labels_where_they_belong():
    titles = [["left", "right"], ["left", "right"]]
    panel = panels.Panel("Title", noise(2, 2, 8, 8, 3), ("one row", "another"), titles)
    pixels = panels.ImageFigure([panel], 17, "Caption.").draw()
    top, bottom, left, _ = box(pixels)
    zoom = 1100 // 18
    is_ink = lambda pixels: (pixels < 100).any()
    for row in range(2):
        y = top if row == 0 else bottom - 8 * zoom
        assert is_ink(pixels[y : y + 8 * zoom, : left - 2])
        for column in range(2):
            x = left + 9 * zoom * column
            assert is_ink(pixels[y - 20 : y - 2, x : x + 8 * zoom])
            assert not is_ink(pixels[y - 20 : y - 2, x + 8 * zoom : x + 9 * zoom])
    assert is_ink(pixels[: top - 30, left:]) and is_ink(pixels[bottom + 2 :])
    for edge in (pixels[:12], pixels[-12:], pixels[:, :12], pixels[:, -12:]):
        assert (edge == 255).all()


def test_a_long_caption_is_wrapped():
    images = noise(2, 2, 8, 8, 3)
    short, long = (
        panels.ImageFigure([panels.Panel("", images)], 17, "A caption of a few words. " * times).draw()
        for times in (1, 20)
    )
    assert long.shape[1] <= short.shape[1] and long.shape[0] > short.shape[0] + 40


@pytest.mark.parametrize("size", [3, 8, 28, 64, 150, 400])
def test_figures_of_small_and_of_large_images_fit_the_page(size):
    images = noise(8, 8, size, size, 3)
    pixels = panels.ImageFigure([panels.Panel("a", images)], 17, "Caption.").draw()
    assert 600 < pixels.shape[1] <= 1350 and pixels.shape[0] <= 1450


@pytest.mark.parametrize(("data", "panels"), [(None, 2), (np.zeros([3, 2]), 3)])
def test_a_density_is_drawn_beside_samples_and_data(data, panels):
    seen = []

    def log_prob(points):
        seen.append(points)
        return -0.5 * (points**2).sum(1)

    pixels = pictures.plane_density(log_prob, np.random.default_rng(0).normal(size=[50, 2]), data)
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    assert pixels.shape[1] == panels * 500
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50  # An empty frame has fewer.
    assert [(points.shape, points.dtype) for points in seen] == [((200 * 200, 2), np.float32)]


class Model:
    """A model with the methods for `of_samples` and `of_classes`; an image of class i has level i."""

    num_bins = 17

    def __init__(self, event_shape, num_classes=None, context_size=None):
        self.event_shape, self.num_classes, self.context_size = event_shape, num_classes, context_size

    def sample(self, num_samples, temperature, seed, labels=None):
        if labels is not None:
            return np.broadcast_to(np.reshape(labels, [num_samples, 1, 1, 1]), [num_samples, *self.event_shape])
        levels = np.random.default_rng(seed).integers(0, 17, [num_samples, *self.event_shape])
        return levels if len(self.event_shape) == 3 else temperature * levels.astype(np.float32)

    def predict(self, points, batch_size=None, verbose=None, labels=None):
        return np.log1p(0 if labels is None else labels) - np.abs(points).sum(1)


def test_samples_of_images_make_a_grid_and_those_of_points_a_density():
    assert pictures.of_samples(Model((8, 8, 1)), num_samples=4).shape == (17 * 31, 17 * 31, 3)
    assert pictures.of_samples(Model((2,))).ndim == 3


def test_there_is_no_picture_of_longer_vectors():
    assert pictures.of_samples(Model((3,))) is None


def test_images_without_levels_are_refused():
    model = Model((8, 8, 1))
    model.num_bins = None
    with pytest.raises(ValueError, match="model must be one of pixel levels for pictures; got num_bins=None"):
        pictures.of_samples(model)


def test_there_is_no_picture_where_samples_need_a_context():
    assert pictures.of_samples(Model((2,), context_size=4)) is None


def test_the_density_of_a_model_of_classes_is_their_mean(monkeypatch):
    monkeypatch.setattr(pictures, "plane_density", lambda log_prob, samples: log_prob(samples))
    plain, of_classes = (pictures.of_samples(Model((2,), num_classes)) for num_classes in (None, 3))
    np.testing.assert_allclose(of_classes, plain + np.log(2), rtol=1e-5)  # the mean of 1, 2 and 3


def test_samples_of_classes_are_a_row_each():
    grid = pictures.of_classes(Model((2, 3, 1), num_classes=5), num_samples=7)
    rows = panels.image_grid(np.repeat(np.arange(5), 7).reshape(35, 1, 1, 1) * np.ones([2, 3, 1]), 17, columns=7)
    np.testing.assert_array_equal(grid, rows)


@pytest.mark.parametrize("model", [Model((2, 3, 1)), Model((2,), num_classes=5), Model((2, 3, 1), context_size=4)])
def test_there_are_no_rows_without_classes_or_images(model):
    assert pictures.of_classes(model) is None


def test_a_saved_picture_opens_with_the_same_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, [5, 7, 3], np.uint8)
    path = tmp_path / "not" / "there" / "picture.png"
    panels.save_png(pixels, path)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
