"""The sections of a flow of images."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from ..figures import latents, likelihoods, paper, pictures
from ..figures.panels import ImageFigure, image_grid
from ..models import num_levels
from .page import Section
from .parts import Part, Picture, Slider
from .run import Run

TEMPERATURES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
NUM_SAMPLES = 64
NUM_HISTOGRAM = 500  # images of each split whose bits/dim are shown


def samples(run: Run) -> Section:
    """Samples by temperature, and a row per class."""
    number = min(NUM_SAMPLES, len(run.test))
    last = len(TEMPERATURES) - 1
    grids = {_label(t): image_grid(run.sample(number, t), num_levels(run.model)) for t in TEMPERATURES}
    parts: list[Part] = [Slider(grids, last)]
    if run.model.num_classes:
        rows = {_label(t): pictures.of_classes(run.model, temperature=t, seed=run.seed) for t in TEMPERATURES}
        parts.append(Slider({label: pixels for label, pixels in rows.items() if pixels is not None}, last))
    text = f"{number} samples. A temperature below 1 draws latents nearer to their mean; all have the same seed."
    by_class = " The second picture has a row for each class." if run.model.num_classes else ""
    return Section(text + by_class, parts)


def beside_data(run: Run) -> Section:
    """Test images beside samples."""
    return _section_of(paper.data_and_samples(run.model, run.test.values, run.seed, run.test.context))


def reconstructions(run: Run) -> Section:
    """Test images, decoded from their latents."""
    return _section_of(paper.reconstructions(run.model, run.test.values, run.test.context))


def interpolations(run: Run) -> Section:
    """The line between the latents of two images."""
    return _between(
        latents.interpolations(run.model, run.test.values, run.test.context),
        "z = (1 − t) z₀ + t z₁, for the latents z₀ and z₁ of the test images above and below",
    )


def swaps(run: Run) -> Section:
    """The latents of two images, exchanged by scale."""
    return _between(
        latents.swaps(run.model, run.test.values, run.test.context),
        "the coarse latents of the test images above, and the fine latents of those below",
    )


def nearest(run: Run) -> Section:
    """The nearest training images of samples: whether the flow has learned images by heart."""
    return _section_of(paper.nearest(run.model, run.training.values, run.test.values, run.seed, run.test.context))


def bits_per_dim(run: Run) -> Section:
    """The histogram of bits/dim, and the images at its ends."""
    splits = {"training": run.training[:NUM_HISTOGRAM], "test": run.test[:NUM_HISTOGRAM]}
    bits = {name: run.bits_per_dim(events) for name, events in splits.items()}
    images = {name: events.values for name, events in splits.items()}
    ends = likelihoods.best_and_worst(images, bits, num_levels(run.model))
    counts = " and ".join(f"the first {len(events)} {name} images" for name, events in splits.items())
    return Section(
        f"The bits/dim of {counts}, with one draw of the noise. {ends.caption}",
        [Picture(likelihoods.histogram(bits), "histogram of bits/dim of training and test images"), _picture(ends)],
    )


SECTIONS: Mapping[str, Callable[[Run], Section]] = {
    "Samples": samples,
    "Data and samples": beside_data,
    "Reconstructions": reconstructions,
    "Interpolation": interpolations,
    "Latents by scale": swaps,
    "Nearest training images": nearest,
    "Bits per dimension": bits_per_dim,
}


def _section_of(figure: ImageFigure) -> Section:
    """A section with one figure, whose caption is the section's text."""
    return Section(figure.caption, [_picture(figure)])


def _picture(figure: ImageFigure) -> Picture:
    """The figure without its caption: text on the page is easier to read."""
    return Picture(dataclasses.replace(figure, caption="").draw(), figure.caption)


def _between(frames: Mapping[str, np.ndarray], origin: str) -> Section:
    """A section with images between two others behind a slider, which begins in the middle."""
    return Section(f"The middle row is decoded from {origin}.", [Slider(frames, len(frames) // 2)])


def _label(temperature: float) -> str:
    return f"temperature {temperature:g}"
