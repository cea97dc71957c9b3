"""The invertible 1×1 convolution against TensorFlow's own convolution and numpy's log-dets."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tfp_realnvp.bijectors.convolution import Invertible1x1Convolution
from tfp_realnvp.networks.matrix import InvertibleMatrix

tfb = tfp.bijectors
tfd = tfp.distributions

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal([2, 3, 6, 5, 4])
KERNEL = RNG.standard_normal([4, 4])
VECTORS = IMAGES[:, :, 0, 0]
LOG_ABS_DET = np.linalg.slogdet(KERNEL)[1]
both_forms = pytest.mark.parametrize("factorized", [True, False])


def fixed(x):
    """A matrix that is a plain function."""
    return tf.constant(KERNEL, x.dtype), tf.constant(LOG_ABS_DET, x.dtype)


@both_forms
def test_it_is_the_convolution_by_the_kernel(factorized):
    matrix = InvertibleMatrix(4, factorized, seed=0, dtype="float64")
    x = tf.constant(IMAGES[0])
    y = Invertible1x1Convolution(matrix).forward(x)
    kernel, _ = matrix(x)
    np.testing.assert_allclose(y, tf.nn.conv2d(x, kernel[tf.newaxis, tf.newaxis], 1, "SAME"), atol=1e-12)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_images_of_any_batch(batch):
    bijector, x = Invertible1x1Convolution(fixed), IMAGES[(0,) * (2 - len(batch))]
    y = x @ KERNEL
    np.testing.assert_allclose(bijector.forward(x), y, atol=1e-12)
    np.testing.assert_allclose(bijector.inverse(y), x, atol=1e-12)
    log_det = np.full(batch, 6 * 5 * LOG_ABS_DET)
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(x, 3), log_det)
    np.testing.assert_allclose(bijector.inverse_log_det_jacobian(y, 3), -log_det)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_vectors_of_any_batch(batch):
    bijector, x = Invertible1x1Convolution(fixed, event_ndims=1), VECTORS[(0,) * (2 - len(batch))]
    y = x @ KERNEL
    np.testing.assert_allclose(bijector.forward(x), y, atol=1e-12)
    np.testing.assert_allclose(bijector.inverse(y), x, atol=1e-12)
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(x, 1), np.full(batch, LOG_ABS_DET))
    np.testing.assert_allclose(bijector.inverse_log_det_jacobian(y, 1), np.full(batch, -LOG_ABS_DET))


def test_a_graph_of_unknown_sizes_counts_the_pixels():
    bijector = Invertible1x1Convolution(fixed)
    log_det = tf.function(
        lambda x: bijector.forward_log_det_jacobian(x, 3),
        input_signature=[tf.TensorSpec([None, None, None, None], tf.float64)],
    )
    for height, width in ((6, 5), (1, 3)):
        expected = np.full(3, height * width * LOG_ABS_DET)
        np.testing.assert_allclose(log_det(IMAGES[0, :, :height, :width]), expected)


def test_the_matrix_builds_itself_and_its_weights_are_those_of_the_bijector():
    bijector = Invertible1x1Convolution(matrix := InvertibleMatrix(4, dtype="float64"))
    bijector.forward(IMAGES)
    assert set(map(id, bijector.variables)) == {id(weight.value) for weight in matrix.weights}
    assert [id(v) for v in bijector.trainable_variables] == [id(matrix.factors.value)]


def test_the_values_have_the_dtype_of_the_input():
    bijector = Invertible1x1Convolution(InvertibleMatrix(4, dtype="mixed_bfloat16"))
    for dtype in (tf.float32, tf.float64):
        x = tf.cast(IMAGES, dtype)
        answers = bijector.forward(x), bijector.inverse(x), bijector.forward_log_det_jacobian(x, 3)
        assert {answer.dtype for answer in answers} == {dtype}


def test_the_inverse_of_the_matrix_is_that_of_double_precision():
    matrix = InvertibleMatrix(96, seed=0)
    bijector = Invertible1x1Convolution(matrix, event_ndims=1)
    x = np.random.default_rng(0).standard_normal([1000, 96]).astype(np.float32)
    y, (kernel, _) = bijector.forward(x), matrix(x)
    error, plain_error = (np.abs(back - x).max() for back in (bijector.inverse(y), y @ tf.linalg.inv(kernel)))
    assert error < 0.5 * plain_error


@both_forms
def test_it_learns_to_whiten(factorized):
    mixing = [[1.0, 0.9], [0.0, 0.2]]
    x = (np.random.default_rng(0).standard_normal([500, 2]) @ mixing).astype(np.float32)
    bijector = Invertible1x1Convolution(InvertibleMatrix(2, factorized, seed=0), event_ndims=1)
    model = rnvp.FlowModel(tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), tfb.Invert(bijector)))
    model.compile(rnvp.optimizers.Adam(0.1))
    model.fit(np.tile(x, [200, 1]), batch_size=len(x), shuffle=False, verbose=0)  # 200 steps of the whole data
    z = bijector.forward(x)
    np.testing.assert_allclose(tf.transpose(z) @ z / len(x), np.eye(2), atol=0.01)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
