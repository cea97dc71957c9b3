"""Images between two images in latent space: the ends of every slider are the images themselves."""

import numpy as np
import pytest

import tfp_realnvp as rnvp
from train.figures import latents

pytestmark = pytest.mark.usefixtures("module_eagerly")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 17, [4, 8, 8, 1]).astype("uint8")


@pytest.fixture(scope="module", params=[None, 3], ids=["unconditional", "classes"])
def flow(request):
    """A flow of two scales, and labels where it has classes."""
    context = None if request.param is None else np.array([0, 1, 2, 0])
    options = dict(num_scales=2, steps_per_scale=1, filters=2, num_bins=17, seed=0)
    return rnvp.Glow((8, 8, 1), num_classes=request.param, **options), context


def rows_of(frame):
    """The three rows of a frame, one pixel for each of the images'."""
    zoom = frame.shape[0] // (3 * 9 - 1)
    pixels = frame[::zoom, ::zoom, 0]
    return pixels[:8], pixels[9:17], pixels[18:26]


def test_a_line_begins_and_ends_at_its_images(flow):
    model, context = flow
    if context is not None:
        context = np.array([0, 1, 0, 1])  # Decoding takes the classes of the first images.
    frames = latents.interpolations(model, IMAGES, context, num_steps=3)
    assert [*frames] == ["t = 0", "t = 0.5", "t = 1"]
    for label, row in (("t = 0", 0), ("t = 1", 2)):
        rows = rows_of(frames[label])
        np.testing.assert_array_equal(rows[1], rows[row])
    first, _, last = rows_of(frames["t = 0.5"])
    np.testing.assert_array_equal(first[:, :8], np.round(IMAGES[0, ..., 0] * (255 / 16)))
    np.testing.assert_array_equal(last[:, :8], np.round(IMAGES[2, ..., 0] * (255 / 16)))


def test_all_latents_of_one_image_give_that_image(flow):
    model, context = flow
    if context is not None:
        context = np.array([0, 1, 0, 1])
    frames = latents.swaps(model, IMAGES, context)
    assert [label.split(",")[0] for label in frames] == [f"coarse latents: {k} of 2 scales" for k in (2, 1, 0)]
    all_coarse, half, all_fine = (rows_of(frame) for frame in frames.values())
    np.testing.assert_array_equal(all_coarse[1], all_coarse[0])
    np.testing.assert_array_equal(all_fine[1], all_fine[2])
    assert (half[1] != half[0]).any() and (half[1] != half[2]).any()
    assert "coarse latents: 1 of 2 scales, 50 % of the entries" in frames


def test_a_flow_of_one_scale_has_nothing_to_swap():
    with pytest.raises(ValueError, match="of a single scale"):
        latents.swaps(rnvp.NICE((8, 8, 1), hidden_units=[2], num_bins=17, seed=0), IMAGES)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
