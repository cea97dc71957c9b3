"""Every bijector of the table obeys every law."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests import laws

pytestmark = pytest.mark.long


@functools.cache
def case(name, dtype):
    bijector, event_shape = laws.BIJECTORS[name](dtype)
    return laws.Case(bijector, event_shape, dtype)


@pytest.mark.parametrize("law", laws.OF_VALUES, ids=lambda law: law.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", laws.BIJECTORS)
def test_values(name, dtype, law):
    law(case(name, dtype))


@pytest.mark.parametrize("law", laws.OF_THE_INTERFACE, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", laws.BIJECTORS)
def test_interface(name, law):
    law(case(name, "float64"))


@pytest.mark.parametrize("law", laws.OF_SMALL_GRAPHS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", ["vector", "act_norm", "norm", "squeeze", "factor_out", "logit_17", "VectorRealNVP"])
def test_small_graphs(name, law):
    law(case(name, "float64"))


def test_the_jacobian_of_the_laws_is_that_of_the_tape():
    vector = case("vector", "float64")
    x = tf.constant(vector.x[0, 0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = vector.bijector.forward(x)
    expected = np.linalg.slogdet(tape.jacobian(y, x))[1]
    assert abs(laws.jacobian_log_det(vector.bijector.forward, x.numpy()) - expected) < 1e-12


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
