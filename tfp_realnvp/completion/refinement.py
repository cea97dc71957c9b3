"""Super-resolution by flows that go from coarse to fine: exact draws of the fine image given the coarse one."""

import itertools
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp import evaluation, sampling
from tfp_realnvp.architectures import MRCNF, SubpixelFlow
from tfp_realnvp.bijectors import bins
from tfp_realnvp.common import check_positive, draw_seed
from tfp_realnvp.model import FlowModel


def refine(
    model: FlowModel,
    images: Any,
    num_samples: int = 1,
    temperature: float = 1.0,
    seed: int | None = None,
    labels: Any = None,
    context: Any = None,
    batch_size: int = 256,
) -> np.ndarray:
    """Draws fine images given coarse ones, from p(fine | coarse) itself: an array [N, num_samples] + event_shape.

    A pixel of a coarse image is the top-left one of each block of a `SubpixelFlow`, and the mean of each block of an
    `MRCNF`. A SubpixelFlow draws levels by their exact probabilities, also where it was trained with noise.

    Args:
      model: `MRCNF`, or `SubpixelFlow` without a refinement.
      images: coarse images [N, height, width, channels] of one of the model's scales, pixel levels.
      num_samples: number of draws for each.
      temperature: non-negative float, as for `FlowModel.sample`.
      seed: int; None draws one.
      labels: the classes for a class-conditional flow, an int or ints [N].
      context: the context for a flow conditioned on vectors, [context_size] or [N, context_size].
      batch_size: number of images of a `SubpixelFlow` that are drawn together.

    Raises:
      ValueError: for other models, images of another size, or values out of range.

    Example: `rnvp.completion.refine(model, images[:, ::2, ::2], 8).mean(axis=1)`

    References: Reed et al., arXiv 1703.03664; arXiv 2106.08462, section 3.
    """
    images, contexts = np.asarray(images), model.events.contexts
    given = contexts.of_samples(len(images), labels, context)
    if isinstance(model, MRCNF):
        return model.refine(images, num_samples, temperature, seed, *given)
    if not isinstance(model, SubpixelFlow):
        raise ValueError(f"model must be an MRCNF or a SubpixelFlow, which has scales; got a {type(model).__name__}")
    try:
        evaluation.check_exact(model)
    except ValueError as error:
        raise ValueError(f"model must have exact probabilities of its levels: {error}") from None
    check_positive(num_samples=num_samples)
    halvings = _halvings(model, images)
    images, *given = (np.repeat(array, num_samples, axis=0) for array in (images, *given))
    base = model.base_given(*given)
    z = sampling.latents(base, [] if given else len(images), temperature, draw_seed(seed)).numpy()
    z[:, :: 2**halvings, :: 2**halvings] = images
    known = model.num_parts(model.options.num_scales - halvings)
    graph = tf.function(lambda z, *given: _levels(model, z, known, *given), reduce_retracing=True, autograph=False)
    fine = sampling.in_batches(graph, batch_size, z, *given)
    return fine.reshape([-1, num_samples, *model.event_shape])


def _levels(model: SubpixelFlow, z: tf.Tensor, num_known: int, *context: Any) -> tf.Tensor:
    """The levels of the latents z, in which the first parts of a `SubpixelFlow` are levels already.

    The parts are those of the coarsest image, then three pixels of each 2×2 block for each scale.
    """
    assert model.num_bins is not None
    num_bins, numbers = model.num_bins, itertools.count()

    def choice(bijector_fn: Any, params: tf.Tensor, kept: tf.Tensor, z: tf.Tensor, at: bins.At) -> tuple:
        is_known = next(numbers) < num_known
        return kept, z if is_known else bins.levels_at(bijector_fn, params, z, at, num_bins)

    levels = bins.inverse(bins.data_to_latent(model.distribution_given(*context)), z, tf.identity, choice)
    return tf.cast(levels, model.events.data_dtype)


def _halvings(model: Any, images: np.ndarray) -> int:
    """How often the sides of the model's images halve to those of coarse images.

    Raises:
      ValueError: for another shape, or entries that are no levels.
    """
    height, width, channels = model.event_shape
    shapes = {(height >> k, width >> k, channels): k for k in range(1, model.options.num_scales + 1)}
    if images.shape[1:] not in shapes or images.ndim != 4:
        raise ValueError(f"images must have shape [N] + {' or '.join(map(str, shapes))}; got {images.shape}")
    levels = np.asarray(images, np.float64) if images.dtype.kind in "biuf" else np.full(1, np.nan)
    if not (np.isin(levels, np.arange(model.num_bins)).all() and levels.size):
        raise ValueError(f"images must hold integers from 0 to {model.num_bins - 1}; got others")
    return shapes[images.shape[1:]]
