"""A training split of which few examples keep their labels."""

import dataclasses

import ml_collections
import numpy as np
import tensorflow as tf

from tfp_realnvp.contexts import UNLABELLED

from .examples import Examples


def hide_labels(examples: Examples, config: ml_collections.ConfigDict) -> Examples:
    """The examples, of which `config.num_labels` keep their labels and repeat, and all others have the label −1.

    Each class keeps as many labels, drawn by `config.seed`. The labelled examples repeat until they are about
    `config.labelled_share` of all.

    Args:
      examples: the training split.
      config: the run's config; with `num_labels` 0 nothing changes.

    Raises:
      ValueError: for examples without labels, or a `num_labels` that `few_of_each_class` refuses.

    Example: `hide_labels(load(config, config.train_split), config)`
    """
    if not config.num_labels:
        return examples
    if examples.num_classes is None:
        raise ValueError(f"num_labels must be 0 for examples without labels; got {config.num_labels}")
    labels = np.concatenate([*examples.dataset.map(lambda event, label: label).batch(1000).as_numpy_iterator()])
    chosen = few_of_each_class(labels, config.num_labels, examples.num_classes, config.seed)
    keeps_label = tf.constant(np.isin(np.arange(len(labels)), chosen))

    numbered = examples.dataset.enumerate()
    labelled = numbered.filter(lambda number, _: keeps_label[number]).map(lambda _, example: example)
    others = numbered.filter(lambda number, _: ~keeps_label[number])
    unlabelled = others.map(lambda _, example: (example[0], tf.constant(UNLABELLED, example[1].dtype)))
    num_others = len(labels) - len(chosen)
    odds = config.labelled_share / (1 - config.labelled_share)
    repeats = max(1, round(odds * num_others / len(chosen)))
    dataset = labelled.cache().repeat(repeats).concatenate(unlabelled)
    return dataclasses.replace(examples, dataset=dataset, size=repeats * len(chosen) + num_others)


def few_of_each_class(labels: np.ndarray, number: int, num_classes: int, seed: int) -> np.ndarray:
    """The places of a few labels, as many of each class, the classes in turn: an int array [number].

    So the first 100 of 1,000 places are also those of a call for 100.

    Args:
      labels: int array [N].
      number: int, a multiple of `num_classes`.
      num_classes: int.
      seed: int, of the choice.

    Raises:
      ValueError: for a number that is no multiple of the classes, or that the smallest class does not allow.

    Example: `few_of_each_class(np.array([0, 1, 1, 0, 1]), 2, 2, seed=0)` are the places of a 0 and of a 1.
    """
    of_each, rest = divmod(number, num_classes)
    fewest = np.bincount(labels, minlength=num_classes).min()
    if rest or not 1 <= of_each <= fewest:
        raise ValueError(
            f"num_labels must be a multiple of the {num_classes} classes, with at most {fewest} examples of each; got "
            f"{number}"
        )
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.stack([order[labels[order] == label][:of_each] for label in range(num_classes)], axis=1).ravel()
