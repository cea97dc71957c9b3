"""Extreme inputs and bad ones: a finite answer, or an error that says what is wrong. docs/reliability.md counts them."""

import numpy as np
import pytest

import tfp_realnvp as rnvp
from tests.laws import randomize_weights

pytestmark = pytest.mark.usefixtures("module_eagerly")

# Extreme inputs.

SHAPE = (8, 8, 3)
FLOWS = {
    "RealNVP": lambda: rnvp.RealNVP(SHAPE, num_scales=1, filters=4, num_blocks=1, seed=0),
    "RealNVP without batch norm": lambda: rnvp.RealNVP(
        SHAPE, num_scales=1, filters=4, num_blocks=1, use_batch_norm=False, alpha=1e-6, seed=0
    ),
    "Glow": lambda: rnvp.Glow(SHAPE, num_scales=2, steps_per_scale=2, filters=4, seed=0),
    "Glow, tanh": lambda: rnvp.Glow(SHAPE, num_scales=2, steps_per_scale=2, filters=4, bound="tanh", seed=0),
    "NICE": lambda: rnvp.NICE(SHAPE, hidden_units=[8], seed=0),
    "UvA": lambda: rnvp.UvA(SHAPE, multi_scale=False, filters=2, num_blocks=1, dequantization="variational", seed=0),
}
CHECKERS = np.indices(SHAPE[:2]).sum(0)[..., None] % 2 * 255
IMAGES = {
    "all 0": np.zeros(SHAPE),
    "all 255": np.full(SHAPE, 255),
    "constant": np.full(SHAPE, 77),
    "checkerboard": np.broadcast_to(CHECKERS, SHAPE),
    "the other checkerboard": np.broadcast_to(255 - CHECKERS, SHAPE),
}
SIGNS = np.random.default_rng(0).choice([-1, 1], SHAPE)
LATENTS = {"30": np.full(SHAPE, 30), "−30": np.full(SHAPE, -30), "±30": 30 * SIGNS}


@pytest.fixture(scope="module", params=[(name, state) for name in FLOWS for state in ("new", "random")], ids=str)
def extreme(request):
    """Every family, as it begins and with weights that no training would leave."""
    name, state = request.param
    model = FLOWS[name]()
    if state == "random":
        randomize_weights(model.weights)
    return model


def test_extreme_images_are_scored_and_encoded(extreme):
    images = np.stack([*IMAGES.values()]).astype(np.uint8)
    nats = extreme.predict(images, batch_size=len(images), verbose=0)
    assert nats.shape == (len(IMAGES),) and np.isfinite(nats).all()
    assert np.isfinite(extreme.encode(images)).all()


def assert_drawn_or_refused(extreme, z, draw):
    """`draw()` gives the images of latents z, or says that the flow overflows at them."""
    x = extreme.bijector.forward(z.astype(np.float32)).numpy()
    if np.isfinite(x).all():
        np.testing.assert_array_equal(draw(), np.floor(x).clip(0, 255))
    else:
        with pytest.raises(ValueError, match="z must be closer to 0, or the temperature lower: the flow overflows"):
            draw()


@pytest.mark.parametrize("name", LATENTS)
def test_extreme_latents_are_decoded_or_refused(extreme, name):
    z = LATENTS[name][None]
    assert_drawn_or_refused(extreme, z, lambda: extreme.decode(z))


@pytest.mark.parametrize("temperature", [0.0, 10.0])
def test_extreme_temperatures_are_drawn_from_or_refused(extreme, temperature):
    z = temperature * extreme.base_distribution.sample(5, seed=[3, 0]).numpy()
    assert_drawn_or_refused(extreme, z, lambda: extreme.sample(5, temperature, seed=3))


VECTORS = np.array([[0, 0, 0], [1e4, 1e4, 1e4], [-1e4, 1e4, -1e4], [1e8, 1e8, 1e8]], np.float32)


@pytest.mark.parametrize("norm", ["act", "batch", None])
def test_extreme_vectors_have_finite_answers(norm):
    model = rnvp.VectorRealNVP((3,), num_couplings=4, hidden_units=[8], norm=norm, seed=0)
    randomize_weights(model.weights)
    assert np.isfinite(model.predict(VECTORS, verbose=0)).all() and np.isfinite(model.encode(VECTORS)).all()
    for z in (30, -30):
        assert np.isfinite(model.decode(np.full([1, 3], z))).all()
    for temperature in (0.0, 10.0):
        assert np.isfinite(model.sample(100, temperature, seed=0)).all()


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
