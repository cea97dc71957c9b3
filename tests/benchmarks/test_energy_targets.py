"""The references of the energies, where they are known exactly."""

import math

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import energy_targets


def test_thermodynamic_integration_finds_the_free_theory_of_another_mass():
    """Without a coupling φ is normal: exp(−φᵀ A φ) has log Z = ½ (n log π − log|A|)."""
    target = energy_targets.Phi4(side=2, mass=3.0, coupling=0.0)
    fields = tf.reshape(tf.eye(4), [4, 2, 2, 1])
    action = lambda field: -target.log_prob(field).numpy()
    one, both = action(fields), action(fields[:, None] + fields[None])
    matrix = (both - one[:, None] - one) / 2  # xᵀ A y by polarisation
    expected = 0.5 * (4 * math.log(math.pi) - np.linalg.slogdet(matrix)[1])
    log_z, error = target.log_z(chains=16, nodes=3, num_results=200)
    assert 0 < error < 0.05 and abs(log_z - expected) < 4 * error + 1e-3  # Three nodes leave an error of quadrature.


def test_the_action_of_a_constant_field_is_its_potential():
    target = energy_targets.Phi4(side=4, mass=-4.0, coupling=8.0)
    assert float(target.log_prob(tf.fill([4, 4, 1], 0.5))) == pytest.approx(-16 * (-4 * 0.25 + 8 * 0.0625))


def test_the_double_well_has_two_wells_and_its_log_z():
    x = tf.constant([[-2.5, 0.0], [0.0, 0.0], [2.4, 0.0]])
    left, middle, right = energy_targets.double_well(x).numpy()
    assert left > right > middle + 5
    grid = np.linspace(-8, 8, 801)
    plane = tf.constant(np.stack(np.meshgrid(grid, grid), axis=-1))
    total = np.exp(energy_targets.double_well(plane)).sum() * 0.02**2
    assert energy_targets.log_z_of_double_well() == pytest.approx(math.log(total), abs=1e-6)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
