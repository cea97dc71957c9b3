"""The refusal of networks in a floating type that TensorFlow cannot compute on this machine."""

import keras
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tfp_realnvp import precision

tfd = tfp.distributions


@pytest.fixture
def only_float32(monkeypatch):
    monkeypatch.setattr(precision, "is_computable", lambda dtype: dtype == "float32")


def test_float32_and_float64_are_computable_everywhere_also_where_a_graph_is_traced():
    assert precision.is_computable("float32")
    precision.is_computable.cache_clear()
    assert tf.function(lambda: precision.is_computable("float64"))().numpy()


def test_a_convolution_that_raises_is_not_computable(monkeypatch):
    def aborted(*args):
        raise tf.errors.AbortedError(None, None, "could not create a primitive descriptor")

    precision.is_computable.cache_clear()
    monkeypatch.setattr(tf.nn, "conv2d", aborted)
    assert not precision.is_computable("bfloat16")
    precision.is_computable.cache_clear()


@pytest.mark.parametrize("make", [rnvp.networks.MLP, lambda units, **options: keras.layers.Dense(units, **options)])
def test_a_flow_refuses_its_networks_before_it_computes(make, only_float32):
    network = make(4, dtype="mixed_bfloat16", name="conditioner")  # which is not built, so that the flow would call it
    flow = rnvp.bijectors.Coupling([1, 0], network)
    message = 'dtype must be "float32" or "float64" where .* compute in bfloat16; got "mixed_bfloat16" of conditioner'
    with pytest.raises(ValueError, match=message):
        rnvp.FlowModel(tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), tfp.bijectors.Invert(flow)))
    assert not network.built


def test_networks_of_the_dequantization_are_refused(only_float32):
    layer = rnvp.dequantization.VariationalDequantization(
        num_couplings=1, filters=2, num_blocks=1, dtype="mixed_bfloat16"
    )
    with pytest.raises(ValueError, match="dtype must be"):
        rnvp.UvA((4, 4, 1), filters=2, dtype="float32", dequantization=layer)


def test_keras_policy_may_be_any_where_the_networks_are_told_another(only_float32):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = rnvp.NICE((4, 4, 1), hidden_units=[2], dtype="float32")
    finally:
        keras.config.set_dtype_policy(before)
    assert {layer.compute_dtype for layer in model.networks} == {"float32"}


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
