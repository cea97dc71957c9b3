"""Features of events for other learners: a flow's latents, or the activations inside of its couplings."""

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.sampling import encode, in_batches

if TYPE_CHECKING:
    from tfp_realnvp.model import FlowModel


def features(
    model: "FlowModel", images: Any, kind: str = "activations", scale: int | None = None, batch_size: int = 256
) -> np.ndarray:
    """Flat features of images or vectors; see `FlowModel.features`."""
    parts = by_scale(model, images, kind, batch_size)
    if scale is not None and (not isinstance(scale, (int, np.integer)) or not 0 <= scale < len(parts)):
        raise ValueError(f"scale must be None or an int from 0 to {len(parts) - 1}; got {scale!r}")
    return np.concatenate(parts if scale is None else [parts[scale]], axis=1)


def by_scale(model: "FlowModel", images: Any, kind: str = "activations", batch_size: int = 256) -> list[np.ndarray]:
    """The features of every scale by one pass: a list of float arrays [N, size], the finest first.

    Args:
      model: `FlowModel`.
      images, kind, batch_size: as for `FlowModel.features`.

    Raises:
      ValueError: as `FlowModel.features`.

    Example: `fine, coarse = by_scale(model, images, "latents")`
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {sorted(KINDS)}; got {kind!r}")
    if model.context_size and not model.shares_bijector:
        raise ValueError(
            "features need a flow that sees no context, or one with mixture_base=True: the latents and activations of "
            f"this flow depend on its {model.events.contexts.name}"
        )
    images = model.events.checked_array("images", images)
    # A flow with a common bijector takes any context.
    any_context = np.zeros([len(images), *model.events.contexts.shape], int) if model.context_size else None
    return KINDS[kind](model, images, any_context, batch_size)


def latents(model: "FlowModel", images: Any, context: np.ndarray | None, batch_size: int) -> list[np.ndarray]:
    """The latents of each scale: a list of arrays [N, size], the finest first.

    Args:
      model: `FlowModel`.
      images: checked images or vectors.
      context: contexts for as many events, or None.
      batch_size: int.

    Example: `fine, coarse = latents(model, images, None, 256)`
    """
    z = model.latents_by_scale(encode(model, images, context, batch_size))
    return [part.reshape(len(images), -1) for part in z]


def activations(model: "FlowModel", images: Any, context: np.ndarray | None, batch_size: int) -> list[np.ndarray]:
    """The last hidden activations of the networks of each scale, those of images by quadrant; else as `latents`.

    Raises:
      ValueError: for networks that record no activations.

    Example: `fine, coarse = activations(model, images, None, 256)`
    """

    def flat(*batch: np.ndarray) -> list[tf.Tensor]:
        empty = tf.zeros([len(batch[0]), 0])
        scales = model.activations_batch(*batch)
        return [tf.concat([empty, *map(mean_of_quadrants, scale)], axis=1) for scale in scales]

    by_scale = in_batches(flat, batch_size, images, *([] if context is None else [context]))
    if not any(part.size for part in by_scale):
        raise ValueError("kind must be 'latents' for this flow: its networks record no activations")
    return by_scale


def mean_of_quadrants(hidden: tf.Tensor) -> tf.Tensor:
    """The mean of each channel over each quadrant of images; vectors stay as they are.

    Args:
      hidden: tensor [batch, height, width, channels], of which odd sides share their middle, or [batch, size].

    Returns:
      float32 tensor [batch, 4 · channels], or [batch, size].

    Example: `mean_of_quadrants(tf.zeros([8, 7, 7, 32]))` has shape [8, 128].
    """
    hidden = tf.cast(hidden, tf.float32)
    if hidden.shape.rank == 2:
        return hidden
    height, width = hidden.shape[1:3]
    rows = (slice(0, (height + 1) // 2), slice(height // 2, None))
    columns = (slice(0, (width + 1) // 2), slice(width // 2, None))
    return tf.concat([tf.reduce_mean(hidden[:, row, column], [1, 2]) for row in rows for column in columns], axis=1)


KINDS = {"activations": activations, "latents": latents}
