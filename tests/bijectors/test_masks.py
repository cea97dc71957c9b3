"""Masks: split and merge undo each other, sums go over what changes, and wrong arrays are refused."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfp_realnvp.bijectors import masks

SIZES = st.integers(1, 6)
MODEST = settings(deadline=None, max_examples=20)


@st.composite
def masks_with_events(draw):
    """A mask and an array of events that it fits, with zero to two batch axes."""
    shape = [draw(SIZES), draw(SIZES), draw(st.integers(2, 7))]
    kinds = ["checkerboard", "channel", "dense image", "dense vector", "split", "nothing", "nothing of vectors"]
    kind = draw(st.sampled_from(kinds))
    if kind in ("dense vector", "split", "nothing of vectors"):
        shape = shape[-1:]
    flag = draw(st.integers(0, 1))
    values = np.random.default_rng(draw(st.integers(0, 99)))
    mask = {
        "checkerboard": lambda: masks.Checkerboard(flag),
        "channel": lambda: masks.Channel(bool(flag)),
        "dense image": lambda: masks.Dense(values.integers(0, 2, shape)),
        "dense vector": lambda: masks.Dense(values.integers(0, 2, shape)),
        "split": lambda: masks.Split(values.integers(0, 2, shape)),
        "nothing": lambda: masks.ChangeAll(3),
        "nothing of vectors": lambda: masks.ChangeAll(1),
    }[kind]()
    batch = draw(st.lists(st.integers(1, 3), max_size=2))
    return mask, values.standard_normal(batch + shape)


@MODEST
@given(masks_with_events())
def test_merge_undoes_split(mask_and_events):
    mask, x = mask_and_events
    np.testing.assert_array_equal(mask.merge(*mask.split(tf.constant(x))), x)


@MODEST
@given(masks_with_events())
def test_split_undoes_merge_of_what_is_changed(mask_and_events):
    mask, x = mask_and_events
    kept, changed = mask.split(tf.constant(x))
    kept_again, changed_again = mask.split(mask.merge(kept, 2 * changed))
    np.testing.assert_array_equal(changed_again, 2 * changed)
    np.testing.assert_array_equal(kept_again, kept)


@MODEST
@given(masks_with_events())
def test_sum_changed_adds_what_changes_in_each_event(mask_and_events):
    mask, x = mask_and_events
    _, changed = mask.split(tf.constant(x))
    axes = tuple(range(-mask.event_ndims, 0))
    total = mask.sum_changed(changed)
    np.testing.assert_allclose(total, np.sum(changed, axes), atol=1e-12)
    # Of ones it counts the entries that another value of `changed` reaches.
    counts = mask.sum_changed(tf.ones_like(changed))
    reached = mask.merge(tf.zeros_like(mask.split(tf.constant(x))[0]), tf.ones_like(changed))
    np.testing.assert_array_equal(counts, np.sum(reached, axes))


@MODEST
@given(masks_with_events())
def test_merge_ignores_what_changed_holds_where_entries_are_kept(mask_and_events):
    mask, x = mask_and_events
    kept, changed = mask.split(tf.constant(x))
    if isinstance(mask, masks.Dense):
        reached = mask.merge(tf.zeros_like(kept), tf.ones_like(changed)).numpy()
        changed = tf.constant(np.where(reached, changed, 1e3))
    np.testing.assert_array_equal(mask.merge(kept, changed), x)


@pytest.mark.parametrize("anything", [np.inf, np.nan])
def test_what_is_ignored_may_be_infinite(anything):
    mask = masks.Dense([1, 0])
    np.testing.assert_array_equal(mask.merge(tf.constant([1.0, 0.0]), tf.constant([anything, 2.0])), [1.0, 2.0])
    assert mask.sum_changed(tf.constant([anything, 2.0])).numpy() == 2


@MODEST
@given(SIZES, SIZES, st.integers(0, 1))
def test_checkerboard_alternates_from_its_top_left(height, width, top_left):
    board = masks.checkerboard(height, width, top_left).numpy()
    assert board.shape == (height, width, 1)
    assert board.dtype == np.float32
    assert board[0, 0, 0] == top_left
    assert np.all(board[1:] + board[:-1] == 1)
    assert np.all(board[:, 1:] + board[:, :-1] == 1)


def test_checkerboard_of_the_authors_has_a_one_at_the_top_left():
    expected = [[1, 0, 1], [0, 1, 0]]
    np.testing.assert_array_equal(masks.checkerboard(2, 3)[..., 0], expected)
    kept, changed = masks.Checkerboard().split(tf.ones([2, 3, 1]))
    np.testing.assert_array_equal(kept[..., 0], expected)
    np.testing.assert_array_equal(changed[..., 0], 1 - np.array(expected))


def test_checkerboard_takes_sizes_that_are_tensors():
    board = tf.function(masks.checkerboard)(tf.constant(2), tf.constant(3))
    np.testing.assert_array_equal(board, masks.checkerboard(2, 3))


@pytest.mark.parametrize("keep_first", [True, False])
def test_channel_parts_are_slices(keep_first):
    x = tf.reshape(tf.range(12.0), [1, 2, 6])
    kept, changed = masks.Channel(keep_first).split(x)
    first, second = (kept, changed) if keep_first else (changed, kept)
    np.testing.assert_array_equal(first, x[..., :3])
    np.testing.assert_array_equal(second, x[..., 3:])


def test_a_split_gathers_its_parts_in_order_and_hands_on_no_zeros():
    mask = masks.Split([0, 1, 1, 0, 1])
    kept, changed = mask.split(tf.constant([[10.0, 11.0, 12.0, 13.0, 14.0]]))
    np.testing.assert_array_equal(kept, [[11, 12, 14]])
    np.testing.assert_array_equal(changed, [[10, 13]])
    np.testing.assert_array_equal(mask.merge(kept, 2 * changed), [[20, 11, 12, 26, 14]])
    assert mask.event_ndims == 1


@pytest.mark.parametrize("mask", [[1, 0, 0, 1, 0], [0, 1, 0, 1, 0, 1], [1, 1, 1]])
def test_a_graph_splits_and_merges_as_an_eager_call(mask):
    split = masks.Split(mask)
    x = tf.random.stateless_normal([7, len(mask)], seed=[0, 1])

    def answers(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            kept, changed = split.split(x)
            y = split.merge(kept, tf.exp(changed))
        return kept, changed, y, tape.gradient(y, x, tf.range(1.0, 1.0 + len(mask)) + tf.zeros_like(y))

    of_graph = tf.function(answers, input_signature=[tf.TensorSpec([None, len(mask)])], autograph=False)(x)
    for value, expected in zip(of_graph, answers(x), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        assert value.shape == expected.shape


@pytest.mark.parametrize("b, sizes", [([1, 1, 1], (3, 0)), ([0, 0, 0], (0, 3))])
def test_a_split_may_keep_everything_or_nothing(b, sizes):
    x = tf.ones([2, 3])
    parts = masks.Split(b).split(x)
    assert tuple(part.shape[-1] for part in parts) == sizes
    np.testing.assert_array_equal(masks.Split(b).merge(*parts), x)


@pytest.mark.parametrize("array", [[0, 2], [0.5, 1], [[1, 0]], 1, np.ones([2, 2, 1])])
def test_a_split_is_of_zeros_and_ones_over_a_vector(array):
    with pytest.raises(ValueError, match=r"mask must be a vector of 0 \(changed\) and 1 \(kept\); got"):
        masks.Split(array)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 5)])
def test_nothing_keeps_an_empty_slice_that_tells_the_size(shape):
    mask = masks.ChangeAll(len(shape) - 1)
    kept, changed = mask.split(tf.ones(shape))
    assert kept.shape == (*shape[:-1], 0) and changed.shape == shape
    np.testing.assert_array_equal(mask.sum_changed(changed), [np.prod(shape[1:])] * 2)


def test_of_an_odd_number_of_channels_the_second_half_has_one_more():
    first, second = masks.first_channels(tf.zeros([2, 2, 5]))
    assert first.shape[-1], second.shape[-1] == (2, 3)


def test_a_size_of_one_broadcasts():
    mask = masks.Dense(np.array([[[1], [0]]]))  # columns
    kept, changed = mask.split(tf.ones([3, 2, 4]))
    np.testing.assert_array_equal(kept[:, 0], np.ones([3, 4]))
    np.testing.assert_array_equal(kept[:, 1], np.zeros([3, 4]))
    assert mask.sum_changed(changed).numpy() == 12


@pytest.mark.parametrize("array", [1, [[1, 0]], np.ones([1, 2, 2, 1])])
def test_a_mask_of_another_rank_is_refused(array):
    with pytest.raises(ValueError, match=r"mask must have rank 1 \(vectors\) or 3 \(images\); got shape"):
        masks.Dense(array)


@pytest.mark.parametrize("array", [[0, 2], [0.5, 1], [-1, 0], [np.nan, 0]])
def test_a_mask_of_other_entries_is_refused(array):
    with pytest.raises(ValueError, match=r"mask must hold 0 \(changed\) and 1 \(kept\) only; got the values"):
        masks.Dense(array)


@pytest.mark.parametrize("top_left", [2, -1, None, "white"])
def test_another_top_left_is_refused(top_left):
    with pytest.raises(ValueError, match="top_left must be 0 or 1"):
        masks.Checkerboard(top_left)


@pytest.mark.parametrize("array", [[True, False], [1.0, 0.0], (1, 0), tf.constant([1, 0])])
def test_a_mask_may_be_any_array_of_zeros_and_ones(array):
    kept, _ = masks.Dense(array).split(tf.constant([3.0, 4.0]))
    np.testing.assert_array_equal(kept, [3.0, 0.0])


def test_a_new_mask_must_write_its_methods():
    for method, arguments in (("split", 1), ("merge", 2), ("sum_changed", 1)):
        with pytest.raises(NotImplementedError):
            getattr(masks.Mask(), method)(*[None] * arguments)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
