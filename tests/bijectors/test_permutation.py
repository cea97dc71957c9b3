"""Permutations of entries, and the orders of tokens, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_realnvp.bijectors import Permutation
from tfp_realnvp.bijectors.permutation import channel_order, token_order
from tfp_realnvp.networks import FixedOrder


def test_each_entry_is_that_of_its_place_in_the_order():
    permutation = Permutation(FixedOrder([2, 0, 1]), event_ndims=1)
    y = permutation.forward(tf.constant([[5.0, 6.0, 7.0]]))
    np.testing.assert_array_equal(y, [[7, 5, 6]])
    np.testing.assert_array_equal(permutation.inverse(tf.constant([[7.0, 5.0, 6.0]])), [[5, 6, 7]])
    np.testing.assert_array_equal(permutation.forward_log_det_jacobian(tf.zeros([4, 3]), 1), np.zeros(4))


def test_the_order_is_a_weight_that_is_not_trained():
    layer = FixedOrder([1, 0])
    permutation = Permutation(layer, event_ndims=1)
    x = tf.constant([3.0, 4.0])
    np.testing.assert_array_equal(permutation.forward(x), [4, 3])
    layer.permutation.assign([0, 1])
    np.testing.assert_array_equal(permutation.forward(x), [3, 4])
    assert layer.trainable_weights == [] and len(permutation.variables) == 1
    assert FixedOrder.from_config(layer.get_config()).get_config() == layer.get_config()


def test_events_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"permutation needs events of 2 entries; got an event of shape \(3,\)"):
        Permutation(FixedOrder([1, 0]), event_ndims=1).forward(tf.zeros([3]))


@pytest.mark.parametrize("order", [[0, 0], [1, 2], [0.5, 1]])
def test_an_order_is_a_permutation(order):
    with pytest.raises(ValueError, match="order must be a permutation of 0, 1, …, size - 1; got"):
        FixedOrder(order)


def test_channels_move_alike_in_all_tokens():
    np.testing.assert_array_equal(channel_order((1, 2, 3), [2, 0, 1]), [2, 0, 1, 5, 3, 4])


def test_each_kept_token_is_the_first_half_of_two_tokens():
    # The tokens 1 and 2 are kept, 0 and 3 change; a row for each new token, its kept half first.
    expected = [[4, 5, 0, 1], [6, 7, 2, 3], [8, 9, 12, 13], [10, 11, 14, 15]]
    np.testing.assert_array_equal(token_order((2, 2, 4), [1, 2, 0, 3]).reshape(4, 4), expected)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
