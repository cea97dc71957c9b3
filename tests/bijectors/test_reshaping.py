"""Squeeze and factor-out: the two orders by hand on tiny images, and what is left alone."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import laws
from tfp_realnvp.bijectors import CoarseToFine, FactorOut, Patches, Squeeze

tfb = tfp.bijectors

# One 2×2 block of 2 channels, "a" and "b".
TL, TR, BL, BR = ([10.0 * position + channel for channel in (1, 2)] for position in (1, 2, 3, 4))
BLOCK = np.array([[TL, TR], [BL, BR]])
BY_CHANNELS = [TL[0], TR[0], BL[0], BR[0], TL[1], TR[1], BL[1], BR[1]]
BY_POSITIONS = [*TL, *BR, *TR, *BL]
ORDERS = {False: BY_CHANNELS, True: BY_POSITIONS}


@pytest.mark.parametrize("diagonal_first", ORDERS)
def test_a_block_becomes_the_channels_of_one_pixel(diagonal_first):
    squeeze = Squeeze(diagonal_first=diagonal_first)
    np.testing.assert_array_equal(squeeze.forward(BLOCK), [[ORDERS[diagonal_first]]])
    np.testing.assert_array_equal(squeeze.inverse(np.array([[ORDERS[diagonal_first]]])), BLOCK)


def test_the_default_is_the_order_by_channels():
    np.testing.assert_array_equal(Squeeze().forward(BLOCK), [[BY_CHANNELS]])


def test_the_first_half_of_the_diagonal_order_is_the_diagonal():
    squeezed = Squeeze(diagonal_first=True).forward(BLOCK)
    np.testing.assert_array_equal(squeezed[0, 0, :4], [*TL, *BR])


@pytest.mark.parametrize("diagonal_first", ORDERS)
def test_an_image_of_four_by_four_is_squeezed_block_by_block(diagonal_first):
    image = np.arange(32.0).reshape(4, 4, 2)
    squeeze = Squeeze(diagonal_first=diagonal_first)
    squeezed = squeeze.forward(image)
    assert squeezed.shape == (2, 2, 8)
    for row in (0, 1):
        for column in (0, 1):
            block = image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            np.testing.assert_array_equal(squeezed[row, column], squeeze.forward(block)[0, 0])


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 3), max_size=2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_squeeze_is_a_permutation_of_every_event(batch, height, width, channels, diagonal_first):
    squeeze = Squeeze(diagonal_first=diagonal_first)
    shape = (2 * height, 2 * width, channels)
    x = np.random.default_rng(0).permutation(np.prod([*batch, *shape])).reshape(*batch, *shape).astype("float32")
    y = squeeze.forward(x)
    assert y.shape == (*batch, height, width, 4 * channels)
    assert squeeze.forward_event_shape(shape) == y.shape[len(batch) :]
    assert squeeze.inverse_event_shape(y.shape[len(batch) :]) == shape
    flat = (*batch, -1)
    np.testing.assert_array_equal(np.sort(y.numpy().reshape(flat)), np.sort(x.reshape(flat)))
    np.testing.assert_array_equal(squeeze.inverse(tf.identity(y)), x)
    np.testing.assert_array_equal(squeeze.forward_log_det_jacobian(x, 3), 0.0)


@pytest.mark.parametrize("shape", [(3, 4, 1), (4, 3, 1), (1, 1, 4)])
def test_an_odd_height_or_width_is_refused(shape):
    height, width, channels = shape
    message = (
        rf"Squeeze needs a height and width divisible by 2; got an event of shape \({height}, {width}, {channels}\)"
    )
    with pytest.raises(ValueError, match=message):
        Squeeze().forward(tf.zeros([2, *shape]))
    with pytest.raises(ValueError, match=message):
        Squeeze().forward_event_shape(shape)


@pytest.mark.parametrize("channels", [1, 6])
def test_channels_that_are_no_squeezed_pixels_are_refused(channels):
    with pytest.raises(ValueError, match=rf"channels; got an event of shape \(2, 2, {channels}\)"):
        Squeeze().inverse(tf.zeros([2, 2, 2, channels]))
    with pytest.raises(ValueError, match=rf"channels; got an event of shape \(2, 2, {channels}\)"):
        Squeeze().inverse_event_shape([2, 2, channels])


@pytest.mark.parametrize("diagonal_first", ORDERS)
def test_squeeze_takes_sizes_that_are_unknown(diagonal_first):
    squeeze = Squeeze(diagonal_first=diagonal_first)
    assert squeeze.forward_event_shape([None, 4, None]).as_list() == [None, 2, None]
    assert squeeze.inverse_event_shape([None, 4, None]).as_list() == [None, 8, None]
    image = np.arange(48.0).reshape(1, 4, 6, 2)
    function = tf.function(lambda x: squeeze.inverse(tf.identity(squeeze.forward(x))))
    np.testing.assert_array_equal(function.get_concrete_function(tf.TensorSpec([None] * 4, tf.float64))(image), image)


def test_patches_are_the_blocks_of_tensorflow():
    x = tf.constant(np.arange(2 * 6 * 3 * 2.0).reshape(2, 6, 3, 2))
    y = Patches(3).forward(x)
    np.testing.assert_array_equal(y, tf.nn.space_to_depth(x, 3))
    np.testing.assert_array_equal(Patches(3).inverse(tf.identity(y)), x)


def test_sizes_that_are_no_patches_are_refused():
    with pytest.raises(
        ValueError, match=r"Patches needs a height and width divisible by 3; got an event of shape \(6, 4"
    ):
        Patches(3).forward(tf.zeros([6, 4, 1]))
    with pytest.raises(ValueError, match="the inverse of Patches needs a multiple of 9 channels"):
        Patches(3).inverse(tf.zeros([2, 2, 4]))
    with pytest.raises(ValueError, match="size must be a positive int; got 0"):
        Patches(0)


def test_an_odd_size_that_only_a_graph_knows_is_an_error_there():
    function = tf.function(Squeeze().forward).get_concrete_function(tf.TensorSpec([None] * 4))
    with pytest.raises(tf.errors.InvalidArgumentError):
        function(tf.zeros([1, 3, 4, 1]))


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_factor_out_leaves_the_second_half_untouched(direction):
    inner = laws.randomize(laws.channel_coupling("float32"))
    x = tf.random.stateless_normal([2, 4, 4, 8], [0, 1])
    y = getattr(FactorOut(inner), direction)(x)
    np.testing.assert_array_equal(y[..., 4:], x[..., 4:])
    np.testing.assert_allclose(y[..., :4], getattr(inner, direction)(x[..., :4]), rtol=1e-6)
    assert np.any(np.abs(y[..., :4] - x[..., :4]) > 0.1)


def test_the_log_det_of_factor_out_is_that_of_the_inner_flow():
    inner = laws.randomize(laws.channel_coupling("float32"))
    x = tf.random.stateless_normal([2, 4, 4, 8], [0, 1])
    log_det = FactorOut(inner).forward_log_det_jacobian(x)
    np.testing.assert_allclose(log_det, inner.forward_log_det_jacobian(x[..., :4]), rtol=1e-6)


@pytest.mark.parametrize("inner", [tfb.Scale(2.0), tfb.Identity(), tfb.Invert(tfb.Scale(0.5)), tfb.Softplus()])
def test_factor_out_takes_stock_bijectors(inner):
    factor_out = FactorOut(inner)
    x = tf.random.stateless_normal([3, 2, 2, 4], [0, 1])
    y = factor_out.forward(x)
    np.testing.assert_allclose(factor_out.inverse(tf.identity(y)), x, rtol=1e-4)
    np.testing.assert_allclose(y[..., :2], inner.forward(x[..., :2]))
    expected = inner.forward_log_det_jacobian(x[..., :2], 0) * tf.ones([3, 2, 2, 2])
    log_det = factor_out.forward_log_det_jacobian(x)
    assert log_det.shape == (3,)
    np.testing.assert_allclose(log_det, np.sum(expected, axis=(1, 2, 3)), rtol=1e-5)


def test_factor_out_gives_its_inner_flow_and_copies():
    inner = tfb.Scale(2.0)
    factor_out = FactorOut(inner)
    assert factor_out.inner is inner
    x = tf.ones([1, 2, 2, 2])
    np.testing.assert_array_equal(factor_out.copy(inner=tfb.Scale(3.0)).forward(x)[..., 0], 3 * np.ones([1, 2, 2]))


@pytest.mark.parametrize("num_kept, shape", [(None, (4, 6, 3)), (2, (4, 6, 5)), (None, (None, 4, None))])
def test_factor_out_takes_the_shapes_of_its_inner_flow(num_kept, shape):
    squeezed = tfb.Chain([tfb.Invert(Squeeze()), Squeeze()])
    factor_out = FactorOut(FactorOut(squeezed), num_kept)
    assert factor_out.forward_event_shape(shape).as_list() == list(shape)
    assert factor_out.inverse_event_shape(shape).as_list() == list(shape)
    message = r"Squeeze needs a height and width divisible by 2; got an event of shape \(4, 5, 1\)"
    for infer in (factor_out.forward_event_shape, factor_out.inverse_event_shape):
        assert infer(tf.TensorShape(None)).rank is None
        with pytest.raises(ValueError, match=message):
            infer([4, 5, 4 if num_kept is None else 3])


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 3), max_size=2), st.integers(1, 3), st.integers(1, 3), st.integers(2, 5))
def test_factor_out_keeps_every_shape(batch, height, width, channels):
    factor_out = FactorOut(tfb.Softplus())
    x = np.random.default_rng(0).standard_normal([*batch, height, width, channels])
    y = factor_out.forward(x)
    assert y.shape == x.shape
    assert factor_out.forward_event_shape(x.shape[-3:]) == x.shape[-3:]
    assert factor_out.forward_log_det_jacobian(x, 3).shape == tuple(batch)
    np.testing.assert_allclose(factor_out.inverse(tf.identity(y)), x, rtol=1e-9)


def test_from_coarse_to_fine_by_hand():
    order = CoarseToFine((3, 4, 1))
    numbers = np.arange(12.0).reshape([1, 3, 4, 1])
    assert order.sizes == [1, 1, 1, 1, 2, 4, 2]
    np.testing.assert_array_equal(order.forward(numbers).numpy().ravel(), [0, 10, 2, 8, 5, 7, 1, 3, 9, 11, 4, 6])


def test_from_coarse_to_fine_is_squeeze_again_and_again():
    x = np.random.default_rng(0).standard_normal([2, 4, 4, 3])
    squeeze = Squeeze(diagonal_first=True)
    outer = squeeze.forward(x)
    inner = tf.reshape(squeeze.forward(outer[..., :3]), [2, 12])
    expected = tf.concat([inner, *(tf.reshape(outer[..., 3 * i : 3 * i + 3], [2, 12]) for i in (1, 2, 3))], 1)
    np.testing.assert_array_equal(tf.reshape(CoarseToFine((4, 4, 3)).forward(x), [2, 48]), expected)


def test_from_coarse_to_fine_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"event_shape must be three positive ints; got \(4, 0, 1\)"):
        CoarseToFine((4, 0, 1))
    with pytest.raises(ValueError, match=r"coarse_to_fine needs events of shape \(3, 4, 1\) here; got \(4, 3, 1\)"):
        CoarseToFine((3, 4, 1)).forward(np.zeros([2, 4, 3, 1]))
    with pytest.raises(ValueError, match=r"needs events of shape \(1, 1, 12\) here; got \(1, 2, 6\)"):
        CoarseToFine((3, 4, 1)).inverse_event_shape([1, 2, 6])


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
