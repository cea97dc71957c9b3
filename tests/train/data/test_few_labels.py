"""Training splits of which few examples keep their labels."""

import numpy as np
import pytest

from tests.train.tiny_runs import tiny
from train import data
from train.data.few_labels import few_of_each_class, hide_labels


def partly_labelled(**fields):
    config = tiny(conditional=True, num_labels=20, **fields)
    examples = data.load(config, config.train_split)
    batches = data.evaluation_batches(hide_labels(examples, config), 500).as_numpy_iterator()
    events, labels = map(np.concatenate, zip(*batches, strict=True))
    return examples, hide_labels(examples, config), events, labels


def test_each_class_keeps_as_many_labels_and_no_example_is_lost():
    examples, hidden, events, labels = partly_labelled()
    assert hidden.size == examples.size == len(labels) and hidden.num_classes == 10
    np.testing.assert_array_equal(np.bincount(labels[labels >= 0]), np.full(10, 2))
    assert np.sum(labels == -1) == examples.size - 20
    truth = {event.tobytes(): label for event, label in examples.dataset.as_numpy_iterator()}
    assert sorted(truth) == sorted({event.tobytes() for event in events})
    for event, label in zip(events, labels, strict=True):
        assert label in (-1, truth[event.tobytes()])


def test_labelled_examples_repeat_until_they_are_the_share():
    examples, hidden, _, labels = partly_labelled(labelled_share=0.5)
    assert len(labels) == hidden.size and np.sum(labels == -1) == examples.size - 20
    assert np.mean(labels >= 0) == pytest.approx(0.5, abs=0.01)
    assert len({*np.bincount(labels[labels >= 0])}) == 1


def test_the_choice_depends_on_the_seed_alone():
    labels = np.random.default_rng(0).integers(3, size=100)
    chosen = few_of_each_class(labels, 12, 3, seed=0)
    np.testing.assert_array_equal(labels[chosen], np.tile([0, 1, 2], 4))
    np.testing.assert_array_equal(few_of_each_class(labels, 6, 3, seed=0), chosen[:6])
    assert {*chosen} != {*few_of_each_class(labels, 12, 3, seed=1)} and len({*chosen}) == 12


def test_a_run_hides_the_labels_of_its_training_split_alone():
    splits = data.load_splits(tiny(conditional=True, num_labels=10))
    few = [label >= 0 for _, label in splits.training.dataset.as_numpy_iterator()]
    assert sum(few) == 10
    for part in (splits.validation, splits.test):
        assert all(label >= 0 for _, label in part.dataset.as_numpy_iterator())


@pytest.mark.parametrize("num_labels", [15, 10_000])
def test_a_number_of_labels_that_the_classes_do_not_share_is_refused(num_labels):
    config = tiny(conditional=True, num_labels=num_labels)
    with pytest.raises(ValueError, match=rf"num_labels must be a multiple of the 10 classes, .*; got {num_labels}"):
        data.load_splits(config)


def test_vectors_as_contexts_have_no_labels_to_hide():
    config = tiny(dataset="gaussian_linear", conditional=True, num_labels=10)
    with pytest.raises(ValueError, match="num_labels must be 0 for examples without labels; got 10"):
        hide_labels(data.load(config, "train"), config)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
