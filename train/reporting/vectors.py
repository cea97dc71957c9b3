"""The sections of a flow of vectors."""

from collections.abc import Callable, Mapping

from ..figures import likelihoods, pictures
from ..figures.corner import MOST_COLUMNS, corner
from .page import Section
from .parts import Picture, Slider
from .run import Run

TEMPERATURES = (0.5, 0.7, 0.8, 0.9, 1.0)
NUM_SAMPLES = 2048  # whole batches of 256: TensorFlow traces once


def density(run: Run) -> Section:
    """The density in the plane beside samples and data."""
    if run.model.event_shape != (2,):
        raise ValueError(f"the density is drawn for vectors of size 2; this flow has events of {run.model.event_shape}")
    if run.model.context_size and not run.model.num_classes:
        raise ValueError("the density of this flow differs from context to context")
    number = min(NUM_SAMPLES, len(run.test))
    log_prob = lambda points: pictures.mean_log_prob(run.model, points)
    pixels = pictures.plane_density(log_prob, run.sample(number), run.test.values[:number])
    return Section(
        f"The density of the flow, {number} samples, and as many test examples.",
        [Picture(pixels, "density, samples and data")],
    )


def samples(run: Run) -> Section:
    """The marginals of samples by temperature, over those of the data."""
    number = min(NUM_SAMPLES, len(run.test))
    data = run.test.values[:number]
    plots = {f"temperature {t:g}": corner(data, run.sample(number, t)) for t in TEMPERATURES}
    size = data.shape[1]
    columns = f"the first {MOST_COLUMNS} of {size} columns" if size > MOST_COLUMNS else "all columns"
    return Section(
        f"{number} samples over as many test examples: the marginals of {columns}, and all pairs of them.",
        [Slider(plots, len(plots) - 1)],
    )


def bits_per_dim(run: Run) -> Section:
    """The histogram of bits/dim."""
    splits = {"training": run.training[:NUM_SAMPLES], "test": run.test[:NUM_SAMPLES]}
    bits = {name: run.bits_per_dim(events) for name, events in splits.items()}
    counts = " and ".join(f"the first {len(events)} {name} examples" for name, events in splits.items())
    return Section(
        f"The bits/dim of {counts}: −log₂ of the density, over the size of the vectors.",
        [Picture(likelihoods.histogram(bits), "histogram of bits/dim of training and test examples")],
    )


SECTIONS: Mapping[str, Callable[[Run], Section]] = {
    "Density": density,
    "Samples and marginals": samples,
    "Bits per dimension": bits_per_dim,
}
