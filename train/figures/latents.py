"""Images between two images in latent space: on the line from one to the other, and with latents of both."""

import numpy as np

import tfp_realnvp as rnvp

from ..models import num_levels
from .panels import image_grid
from .paper import coarse_latents, interpolated_latents

NUM_PAIRS = 6


def interpolations(
    model: rnvp.FlowModel, images: np.ndarray, context: np.ndarray | None = None, num_steps: int = 11
) -> dict[str, np.ndarray]:
    """Pairs of images with the decoded point between their latents, for each point of the line.

    ```none
    z = (1 − t) z₀ + t z₁
    ```

    Args:
      model: `FlowModel` of images.
      images: integer array [N, height, width, channels] of pixel levels; up to 6 pairs of them are shown.
      context: the labels or contexts of the images for a conditional flow. Decoding takes those of z₀.
      num_steps: number of values of t from 0 to 1.

    Returns:
      "t = 0.5" ↦ uint8 array [height, width, 3]. Its first row are the images of z₀, its last row those of z₁.

    Example: `Slider(interpolations(model, images))`
    """
    (start, end), (z_start, z_end), given = _pairs(model, images, context)
    z = interpolated_latents(z_start, z_end, num_steps)
    frames = {}
    for step in range(num_steps):
        decoded = model.decode(z[:, step], given)
        frames[f"t = {step / (num_steps - 1):g}"] = _rows(model, start, decoded, end)
    return frames


def swaps(model: rnvp.FlowModel, images: np.ndarray, context: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Pairs of images, decoded with the coarse latents of the one and the fine latents of the other.

    Args:
      model, images, context: as for `interpolations`.

    Returns:
      A label ↦ uint8 array [height, width, 3], for each number of coarse scales. Its first row are the images of the
      coarse latents, its last row those of the fine latents.

    Raises:
      ValueError: for a flow of one scale.

    Example: `Slider(swaps(model, images))`
    """
    (coarse, fine), (z_coarse, z_fine), given = _pairs(model, images, context)
    sizes = [latents.size for latents in model.latents_by_scale(z_coarse)]
    if len(sizes) == 1:
        raise ValueError("the latents of this flow are of a single scale")
    frames = {}
    for num_kept in range(len(sizes), -1, -1):
        decoded = model.decode(coarse_latents(model, z_coarse, num_kept, z_fine), given)
        share = sum(sizes[len(sizes) - num_kept :]) / z_coarse.size
        frames[f"coarse latents: {num_kept} of {len(sizes)} scales, {100 * share:.3g} % of the entries"] = _rows(
            model, coarse, decoded, fine
        )
    return frames


def _pairs(model: rnvp.FlowModel, images: np.ndarray, context: np.ndarray | None) -> tuple:
    """The pairs of images, the pairs of their latents, and the context of the first images."""
    number = min(len(images) // 2, NUM_PAIRS)
    images, context = images[: 2 * number], None if context is None else context[: 2 * number]
    z = model.encode(images, context)
    return np.split(images, 2), np.split(z, 2), None if context is None else context[:number]


def _rows(model: rnvp.FlowModel, *rows: np.ndarray) -> np.ndarray:
    return image_grid(np.concatenate(rows), num_levels(model), columns=len(rows[0]), line=255)
