"""Data sets by name, as batches for training and for evaluation."""

from .batches import evaluation_batches, steps_per_pass, training_batches
from .examples import Examples, without_context
from .few_labels import hide_labels
from .loading import Splits, load, load_splits

__all__ = [
    "Examples",
    "Splits",
    "evaluation_batches",
    "hide_labels",
    "load",
    "load_splits",
    "steps_per_pass",
    "training_batches",
    "without_context",
]
