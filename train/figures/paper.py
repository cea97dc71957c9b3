"""The figures of the Real NVP paper (arXiv 1605.08803), and more that show the quality of a trained flow."""

import fractions
import pathlib
from typing import Any

import numpy as np
import sklearn.neighbors
import tensorflow as tf

import tfp_realnvp as rnvp

from ..models import num_levels
from . import continuous
from .panels import ImageFigure, Panel, save_figures

NUM_TEST_IMAGES = 8  # the fewest that suffice for every figure
NUM_NEIGHBORS = 8  # training images beside each sample


def write_figures(
    model: rnvp.FlowModel,
    training_images: np.ndarray,
    test_images: np.ndarray,
    folder: pathlib.Path,
    tensorboard_dir: pathlib.Path,
    seed: int = 0,
) -> list[pathlib.Path]:
    """Writes every figure as a PNG file, and as an image summary of the same name for TensorBoard.

    ```none
    samples, data_and_samples, reconstructions, manifold, interpolation, hierarchy, nearest, samples_2x, samples_10x,
    pyramid
    ```

    The larger samples are left out for a flow that is not convolutional; the pyramid is of `MRCNF` alone.

    Args:
      model: `FlowModel` of images. The summaries' step is its optimizer's step, 0 for a model without an optimizer.
      training_images: integer array [N, height, width, channels] of pixel levels; samples may be copies of them.
      test_images: an array like it, of images that the model has not seen; the first 100 are used.
      folder: folder of the PNG files, made if it is missing.
      tensorboard_dir: folder of the event file.
      seed: of all samples and latents.

    Returns:
      The paths of the PNG files.

    Raises:
      ValueError: for a model of vectors, fewer than 8 test or training images, or images of another shape than the
        model's.

    Example: `paper.write_figures(model, training, test, workdir / "figures", workdir / "tensorboard/figures")`
    """
    if len(model.event_shape) != 3:
        raise ValueError(
            f"figures need a model of images, or FFJORD in the plane; got events of shape {model.event_shape}"
        )
    for name, images, fewest in [("training", training_images, NUM_NEIGHBORS), ("test", test_images, NUM_TEST_IMAGES)]:
        if len(images) < fewest:
            raise ValueError(f"{name}_images must hold at least {fewest} images; got {len(images)}")
        if images.shape[1:] != model.event_shape:
            raise ValueError(f"{name}_images must have shape [N] + {model.event_shape}; got {images.shape}")
    figures = {
        "samples": samples(model, seed),
        "data_and_samples": data_and_samples(model, test_images, seed),
        "reconstructions": reconstructions(model, test_images),
        "manifold": manifold(model, test_images),
        "interpolation": interpolation(model, test_images),
        "hierarchy": hierarchy(model, test_images, seed),
        "nearest": nearest(model, training_images, test_images, seed),
    }
    if model.is_convolutional:
        figures["samples_2x"] = larger_samples(model, 2, 4, seed)
        figures["samples_10x"] = larger_samples(model, 10, 1, seed)
    if isinstance(model, rnvp.MRCNF):
        figures["pyramid"] = continuous.pyramid(model, seed)
    pixels = {name: figure.draw() for name, figure in figures.items()}
    return save_figures(pixels, int(model.optimizer.iterations) if model.compiled else 0, folder, tensorboard_dir)


# The figures.


def samples(model: rnvp.FlowModel, seed: int = 0, num_samples: int = 64) -> ImageFigure:
    """Samples at temperature 1, eight per row.

    Args:
      model: `FlowModel` of images.
      seed: of the samples.
      num_samples: a multiple of 8.

    Returns:
      `ImageFigure`.
    """
    images = model.sample(num_samples, seed=seed)
    caption = f"{num_samples} samples at temperature 1."
    return ImageFigure([Panel("Samples", _rows(images, 8))], num_levels(model), caption)


def data_and_samples(
    model: rnvp.FlowModel, images: np.ndarray, seed: int = 0, context: np.ndarray | None = None
) -> ImageFigure:
    """The paper's figure 5: images of the data set beside an equal number of samples, eight per row.

    Args:
      model: `FlowModel` of images.
      images: integer array [N, height, width, channels] of pixel levels; up to 64 of them are shown, in full rows of 8.
      seed: of the samples.
      context: the labels or contexts of the images for a conditional flow: each sample has that of its image.

    Returns:
      `ImageFigure`.
    """
    data = _rows(images[: min(len(images), 64) // 8 * 8], 8)
    sampled = _rows(model.sample(8 * len(data), seed=seed, **first_contexts(model, context, 8 * len(data))), 8)
    caption = f"{8 * len(data)} test images, and as many samples at temperature 1."
    return ImageFigure([Panel("Test images", data), Panel("Samples", sampled)], num_levels(model), caption)


def reconstructions(model: rnvp.FlowModel, images: np.ndarray, context: np.ndarray | None = None) -> ImageFigure:
    """Three rows: images x, decode(encode(x)), and |x − decode(encode(x))|.

    Args:
      model: `FlowModel` of images.
      images: integer array [N, height, width, channels] of pixel levels; the first 12 are shown.
      context: the labels or contexts of the images for a conditional flow.

    Returns:
      `ImageFigure`.
    """
    images, context = images[:12], None if context is None else context[:12]
    decoded = model.decode(model.encode(images, context), context)
    difference = np.abs(images.astype(int) - decoded)
    caption = (
        "A flow is invertible: test images x, their reconstructions from their latents, and the absolute difference. "
        f"The largest difference is {difference.max()} of {num_levels(model) - 1} levels."
    )
    rows = Panel("Reconstructions", np.stack([images, decoded, difference]), ("x", "decode(encode(x))", "difference"))
    return ImageFigure([rows], num_levels(model), caption)


def manifold(model: rnvp.FlowModel, images: np.ndarray, num_angles: int = 8) -> ImageFigure:
    """The paper's figure 6: the manifold of four images, equation 19, beside the four images.

    Args:
      model: `FlowModel` of images.
      images: integer array [N, height, width, channels] of pixel levels; the first 4 span the manifold.
      num_angles: n, the number of rows and of columns.

    Returns:
      `ImageFigure`.
    """
    corners = images[:4]
    z = manifold_latents(model.encode(corners), num_angles)
    decoded = _rows(model.decode(np.concatenate(z)), num_angles)
    angles = [_multiple_of_pi(2 * k, num_angles) for k in range(num_angles)]
    caption = (
        "z = cos φ (cos φ′ z₁ + sin φ′ z₂) + sin φ (cos φ′ z₃ + sin φ′ z₄), decoded, "
        "for the latents z₁ to z₄ of four test images."
    )
    titles = [[f"φ′ = {angle}" for angle in angles]]
    panels = [
        Panel("Manifold", decoded, [f"φ = {angle}" for angle in angles], titles),
        Panel("Test images", corners[:, np.newaxis], ("z₁", "z₂", "z₃", "z₄"), [[""]]),
    ]
    return ImageFigure(panels, num_levels(model), caption)


def interpolation(model: rnvp.FlowModel, images: np.ndarray, num_steps: int = 9) -> ImageFigure:
    """Lines between the latents of two images, one pair per row; at the ends are the images themselves.

    Args:
      model: `FlowModel` of images.
      images: integer array [N, height, width, channels] of pixel levels; up to 6 pairs of them are shown.
      num_steps: number of columns, at least 3.

    Returns:
      `ImageFigure`.
    """
    num_pairs = min(len(images) // 2, 6)
    start, end = images[:num_pairs], images[num_pairs : 2 * num_pairs]
    z_start, z_end = np.split(model.encode(images[: 2 * num_pairs]), 2)
    z = interpolated_latents(z_start, z_end, num_steps)[:, 1:-1]
    decoded = _rows(model.decode(np.concatenate(z)), num_steps - 2)
    rows = np.concatenate([start[:, np.newaxis], decoded, end[:, np.newaxis]], axis=1)
    steps = [f"t = {fractions.Fraction(step, num_steps - 1)}" for step in range(1, num_steps - 1)]
    caption = "z = (1 − t) z₀ + t z₁, decoded, for the latents z₀ and z₁ of the test images at the row's ends."
    return ImageFigure([Panel("Interpolation", rows, titles=[["data", *steps, "data"]])], num_levels(model), caption)


def hierarchy(model: rnvp.FlowModel, images: np.ndarray, seed: int = 0) -> ImageFigure:
    """The conceptual compression of the paper's appendix: images without the latents of their finest scales.

    Args:
      model: `FlowModel` of images.
      images: integer array [N, height, width, channels] of pixel levels; the first 8 are shown.
      seed: of the replaced latents, which are the same in each column.

    Returns:
      `ImageFigure` with one column per scale beside the images. A column keeps the latents of the k coarsest scales,
      with k from all (a reconstruction) down to 1. The first panel samples the other latents from the base
      distribution, the second sets them to 0.
    """
    images = images[:8]
    z = model.encode(images)
    sizes = [latents.size for latents in model.latents_by_scale(z)]
    sampled = model.base_distribution.sample(len(images), seed=tf.constant([seed, 1])).numpy()
    kept = range(len(sizes), 0, -1)
    latents = [coarse_latents(model, z, k, others) for others in (sampled, np.zeros_like(z)) for k in kept]
    decoded = model.decode(np.concatenate(latents)).reshape(2, len(sizes), *images.shape)
    titles = [["data", *(f"{100 * sum(sizes[-k:]) / z.size:.3g} %" for k in kept)]]
    panels = [
        Panel(title, np.stack([images, *columns], axis=1), titles=titles)
        for title, columns in zip(["Finer latents sampled", "Finer latents zero"], decoded, strict=True)
    ]
    caption = (
        "Test images, decoded without the latents of the finest scale, the two finest, and so on. Above each column: "
        "the percentage of latents kept. The others are sampled from the base distribution (left), or zero (right)."
    )
    return ImageFigure(panels, num_levels(model), caption)


def larger_samples(model: rnvp.FlowModel, factor: int, num_samples: int, seed: int = 0) -> ImageFigure:
    """Samples larger than the training images, from a fully convolutional flow.

    Args:
      model: `FlowModel` of images.
      factor: of the height and width.
      num_samples: number of samples, at most two per row.
      seed: of the samples.

    Returns:
      `ImageFigure`.
    """
    height, width, _ = model.event_shape
    size = (factor * height, factor * width)
    # One by one: large samples need much memory.
    images = model.sample(num_samples, seed=seed, batch_size=1, image_size=size)
    caption = f"Drawn with {size[0]}×{size[1]} pixels from a model of images of {height}×{width}, at temperature 1."
    panel = Panel(f"Samples at {factor} times the size", _rows(images, min(num_samples, 2)))
    return ImageFigure([panel], num_levels(model), caption)


def nearest(
    model: rnvp.FlowModel,
    training_images: np.ndarray,
    test_images: np.ndarray,
    seed: int = 0,
    context: np.ndarray | None = None,
) -> ImageFigure:
    """Samples and their nearest training images: whether the flow has learned images by heart.

    Args:
      model: `FlowModel` of images.
      training_images: integer array [N, height, width, channels] of pixel levels, at least 8.
      test_images: an array like it. Its first 100 images give the distance to compare with.
      seed: of the samples.
      context: labels or contexts [N] for a conditional flow; the samples have the first of them.

    Returns:
      `ImageFigure` with one row per sample.
    """
    sampled = model.sample(6, seed=seed, **first_contexts(model, context, 6))
    distances, indices = nearest_neighbors(sampled, training_images, NUM_NEIGHBORS)
    yardstick = nearest_neighbors(test_images[:100], training_images, 1)[0]
    rows = np.concatenate([sampled[:, np.newaxis], training_images[indices]], axis=1)
    titles = [["sample", *(f"{distance:.1f}" for distance in row)] for row in distances]
    caption = (
        f"Samples, and the nearest of {len(training_images)} training images with their Euclidean distances in levels. "
        f"For comparison: from a test image to the nearest training image it is {np.median(yardstick):.1f}, the median "
        f"of {len(yardstick)}."
    )
    return ImageFigure([Panel("Nearest training images", rows, titles=titles)], num_levels(model), caption)


# The contexts, latents and neighbors that they show.


def first_contexts(model: rnvp.FlowModel, context: np.ndarray | None, number: int) -> dict[str, Any]:
    """The argument of `model.sample` with the first contexts.

    Args:
      model: `FlowModel`.
      context: labels [N] or contexts [N, size] for a conditional flow; without any, labels are drawn.
      number: of the contexts, at most N.

    Returns:
      `{"labels": array}` or `{"context": array}`, or an empty dictionary without contexts.
    """
    return {} if context is None else {model.events.contexts.name: context[:number]}


def manifold_latents(z: np.ndarray, num_angles: int) -> np.ndarray:
    """Equation 19 of the paper, for φ, φ′ ∈ {0, 2π/n, …, 2π (n − 1)/n}:

    ```none
    z(φ, φ′) = cos φ (cos φ′ z₁ + sin φ′ z₂) + sin φ (cos φ′ z₃ + sin φ′ z₄)
    ```

    Args:
      z: float array [4, ...], the latents z₁ to z₄.
      num_angles: n.

    Returns:
      Array [n, n, ...], indexed by φ and φ′.
    """
    angles = 2 * np.pi / num_angles * np.arange(num_angles)
    circle = np.stack([np.cos(angles), np.sin(angles)]).astype(z.dtype)
    return np.einsum("ip,jq,ij...->pq...", circle, circle, z.reshape(2, 2, *z.shape[1:]))


def interpolated_latents(start: np.ndarray, end: np.ndarray, num_steps: int) -> np.ndarray:
    """The line z(t) = (1 − t) z₀ + t z₁ at `num_steps` values of t from 0 to 1.

    Args:
      start: float array [N, ...], z₀.
      end: float array [N, ...], z₁.
      num_steps: number of values of t.

    Returns:
      Array [N, num_steps, ...].
    """
    return np.linspace(start, end, num_steps, axis=1, dtype=start.dtype)


def coarse_latents(model: rnvp.FlowModel, z: np.ndarray, num_kept: int, others: np.ndarray) -> np.ndarray:
    """The latents of the `num_kept` coarsest scales from `z`, and of the finer scales from `others`.

    Args:
      model: `FlowModel`.
      z: float array [N] + event_shape.
      num_kept: from 0 to the number of scales.
      others: float array [N] + event_shape.

    Returns:
      Array [N] + event_shape.
    """
    by_scale = model.latents_by_scale(z)
    num_replaced = len(by_scale) - num_kept
    return model.join_latents(model.latents_by_scale(others)[:num_replaced] + by_scale[num_replaced:])


def nearest_neighbors(images: np.ndarray, training_images: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest training images in Euclidean distance over all pixels, the nearest first.

    Args:
      images: array [N, ...] of pixel levels.
      training_images: array [M, ...] of pixel levels.
      number: k ≤ M.

    Returns:
      Distances [N, k] in levels, and the indices [N, k] of the training images.
    """
    vectors = lambda levels: levels.reshape(len(levels), -1).astype(np.float32)
    search = sklearn.neighbors.NearestNeighbors(n_neighbors=number, algorithm="brute")
    return search.fit(vectors(training_images)).kneighbors(vectors(images))


def _rows(images: np.ndarray, columns: int) -> np.ndarray:
    """[rows · columns, ...] → [rows, columns, ...]."""
    return images.reshape(-1, columns, *images.shape[1:])


def _multiple_of_pi(numerator: int, denominator: int) -> str:
    """The text of a multiple of π in lowest terms, such as 3π/4."""
    fraction = fractions.Fraction(numerator, denominator)
    if not fraction:
        return "0"
    times = "" if fraction.numerator == 1 else fraction.numerator
    return f"{times}π" + ("" if fraction.denominator == 1 else f"/{fraction.denominator}")
