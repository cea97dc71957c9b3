"""The pyramid of MRCNF, and the path of a density in the plane."""

import fractions

import numpy as np
import pytest
from PIL import Image

import tfp_realnvp as rnvp
from tests import laws
from train.figures import continuous

pytestmark = pytest.mark.usefixtures("module_eagerly")

QUARTERS = [fractions.Fraction(number, 4) for number in range(5)]


@pytest.fixture(scope="module", params=[1, 2, 3])
def plane(request):
    """A flow of one to three blocks over points, with a standardization and random weights."""
    model = rnvp.FFJORD((2,), num_blocks=request.param, hidden_units=(3,), seed=0)
    laws.randomize_weights(model.weights)
    return model


def test_the_path_leads_from_the_latents_to_the_data(plane):
    z = np.random.default_rng(0).normal(size=[6, 2]).astype(np.float32)
    states = continuous.states_at(plane, z, QUARTERS)
    standardization = plane.networks[0]
    start = z * np.sqrt(standardization.variance) + standardization.mean
    np.testing.assert_allclose(states[0], start, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(states[-1], plane.decode(z), rtol=1e-3, atol=1e-3)
    (middle,) = continuous.states_at(plane, z, QUARTERS[2:3])
    np.testing.assert_allclose(states[2], middle, rtol=1e-3, atol=1e-3)
    assert np.abs(states[2] - states[0]).max() > 1e-3 and np.abs(states[2] - states[-1]).max() > 1e-3


def test_the_strip_is_written(plane, tmp_path):
    (path,) = continuous.write_path(plane, tmp_path / "figures", tmp_path / "tensorboard", step=3)
    with Image.open(path) as picture:
        assert path.name == "path.png" and picture.size == (2000, 420)
        assert len(np.unique(np.asarray(picture))) > 10


def test_the_pyramid_has_a_row_per_scale_at_one_size():
    model = rnvp.MRCNF((8, 4, 1), num_scales=3, num_blocks=1, filters=2, num_bins=17, seed=0)
    laws.randomize_weights(model.weights)
    figure = continuous.pyramid(model, seed=5, num_samples=4)
    (panel,) = figure.panels
    assert (panel.images.shape, panel.row_labels) == ((3, 4, 8, 4, 1), ["2×1", "4×2", "8×4"])
    for number, images in enumerate(panel.images, start=1):
        samples = model.sample(4, seed=5, num_scales=number)
        factor = 2 ** (3 - number)
        np.testing.assert_array_equal(images[:, ::factor, ::factor], samples)
        np.testing.assert_array_equal(images[:, factor - 1 :: factor, factor - 1 :: factor], samples)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
