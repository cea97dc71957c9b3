"""`Arrays`: a data set in memory, and its splits as `Examples`."""

import dataclasses

import ml_collections
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from .examples import Examples


@dataclasses.dataclass(frozen=True)
class Arrays:
    """A data set in memory.

    Attributes:
      splits: dictionary, name of a split ↦ tuple of arrays of one length: the events and, if there are any, their
        contexts: labels [N] or vectors [N, context_size].
      num_bins, num_classes, context_size: as in `Examples`.
    """

    splits: dict[str, tuple[np.ndarray, ...]]
    num_bins: int | None = None
    num_classes: int | None = None
    context_size: int | None = None


def examples_from_arrays(arrays: Arrays, split: str, config: ml_collections.ConfigDict) -> Examples:
    """The examples of a split, with their contexts if `config.conditional`.

    Raises:
      ValueError: if there is no such split, or if `config.conditional` does not fit the data.
    """
    has_vectors = arrays.context_size is not None
    if config.conditional and arrays.num_classes is None and not has_vectors:
        raise ValueError(f"conditional must be False for dataset={config.dataset}, which has no labels; got True")
    if has_vectors and not config.conditional:
        raise ValueError(f"conditional must be True for dataset={config.dataset}, a conditional density; got False")
    sizes = {name: len(events) for name, (events, *_) in arrays.splits.items()}
    parts = _read_instructions(config.dataset, split, sizes)
    pieces = [[column[part.from_ : part.to] for column in arrays.splits[part.splitname]] for part in parts]
    events, *contexts = (np.concatenate(column) for column in zip(*pieces, strict=True))
    dataset = tf.data.Dataset.from_tensor_slices((events, *contexts) if config.conditional else events)
    context = {"num_classes": arrays.num_classes, "context_size": arrays.context_size} if config.conditional else {}
    return Examples(dataset, events.shape[1:], arrays.num_bins, len(events), **context)


def _read_instructions(name: str, split: str, sizes: dict[str, int]) -> list:
    """TFDS's reading of a split such as "train[:-500]+test"."""
    infos = {key: tfds.core.SplitInfo(name=key, shard_lengths=[size], num_bytes=0) for key, size in sizes.items()}
    try:
        return tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
    except (ValueError, KeyError, AssertionError, AttributeError) as error:
        raise ValueError(
            f"split must be one of {sorted(sizes)}, or a slice of them; got {split!r} of {name}"
        ) from error
