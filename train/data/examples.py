"""`Examples`: one split of a data set, with the facts that a flow depends on."""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Examples:
    """One split of a data set.

    Attributes:
      dataset: `tf.data.Dataset` of single events, unbatched: uint8 images, or float32 vectors. Images may be larger
        than `event_shape` and of several sizes: the batches hold crops of them. If `config.conditional`, the elements
        are tuples of an event and its context: an int label, or a float32 vector.
      event_shape: the shape of an event in a batch.
      num_bins: number of pixel levels, None for continuous data.
      size: number of examples.
      num_classes: number of classes if the contexts are labels, otherwise None.
      context_size: size of the contexts if they are vectors, otherwise None.
    """

    dataset: tf.data.Dataset
    event_shape: tuple[int, ...]
    num_bins: int | None
    size: int
    num_classes: int | None = None
    context_size: int | None = None

    @property
    def are_cropped(self) -> bool:
        """Whether the images are larger than `event_shape`, so that the batches hold crops of them."""
        event, *_ = tf.nest.flatten(self.dataset.element_spec)
        return tuple(event.shape) != tuple(self.event_shape)


def without_context(examples: Examples) -> Examples:
    """The same `Examples` as events alone."""
    events = examples.dataset.map(lambda event, *context: event, tf.data.AUTOTUNE)
    return dataclasses.replace(examples, dataset=events, num_classes=None, context_size=None)
