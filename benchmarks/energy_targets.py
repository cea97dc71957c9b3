"""Unnormalised densities with references: quadrature, thermodynamic integration, or plain HMC."""

import dataclasses
import math

import numpy as np
import sklearn.datasets
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb


def double_well(x):
    """−U of the double well x₀⁴/4 − 3 x₀² + x₀/2 + x₁²/2 (Noé et al., Science 365, 2019, with half of their tilt)."""
    first, second = tf.unstack(x, axis=-1)
    return -(0.25 * first**4 - 3 * first**2 + 0.5 * first + 0.5 * second**2)


def log_z_of_double_well():
    """log Z by the trapezoidal rule in x₀, and the normal integral over x₁."""
    grid = np.linspace(-8, 8, 100_001)
    points = tf.constant(np.stack([grid, np.zeros_like(grid)], axis=-1))
    return math.log(np.trapezoid(np.exp(double_well(points)), grid)) + 0.5 * math.log(2 * math.pi)


@dataclasses.dataclass(frozen=True)
class Phi4:
    """The action of φ⁴ theory on a periodic square lattice, in the form of arXiv 1904.12072, equation 24.

    ```none
    S(φ) = Σ_x [Σ_μ φ_x (2 φ_x − φ_{x+μ} − φ_{x−μ}) + m² φ_x² + λ φ_x⁴]
    ```

    Attributes:
      side: number of sites in each direction.
      mass: m².
      coupling: λ.
    """

    side: int = 8
    mass: float = -4.0
    coupling: float = 8.0

    def log_prob(self, field):
        """−S of fields [..., side, side, 1]."""
        return -self._bilinear(field, self.mass) - self.coupling * _sum(field**4)

    def propagators(self, mass):
        """1 / (k̂² + M²) for each momentum, [side, side]: twice the variances of the free theory of mass M²."""
        squares = 2 - 2 * np.cos(2 * np.pi * np.arange(self.side) / self.side)
        return 1 / (squares[:, None] + squares + mass)

    def effective_mass(self):
        """M² of the free theory nearest to this one in the Hartree approximation, M² = m² + 6 λ E[φ²]."""
        mass = 1.0
        for _ in range(100):
            mass = 0.5 * mass + 0.5 * max(self.mass + 3 * self.coupling * self.propagators(mass).mean(), 0.1)
        return mass

    def free_field(self, mass):
        """The bijector from white noise [side · side] to fields of the free theory of mass M²."""
        # The covariance is circulant: its first row is the transform of the variances.
        row = np.fft.ifft2(self.propagators(mass) / 2).real
        sites = np.stack(np.meshgrid(*[np.arange(self.side)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
        rows, columns = np.moveaxis((sites[:, None] - sites) % self.side, -1, 0)
        factor = np.linalg.cholesky(row[rows, columns]).astype(np.float32)
        return tfb.Chain([tfb.Reshape((self.side, self.side, 1)), tfb.ScaleMatvecTriL(factor)])

    def log_z(self, chains=64, nodes=12, num_results=1000, free_mass=2.0, seed=0):
        """log Z and its standard error by thermodynamic integration from the free theory of mass M², by HMC.

        ```none
        log Z = ½ Σ_k log(π / (k̂² + M²)) − ∫₀¹ E_t[S − S₀] dt,    p_t ∝ exp(−(1 − t) S₀ − t S)
        ```

        The integral is Gauss and Legendre's sum. All nodes' chains are one batch.
        """
        points, weights = np.polynomial.legendre.leggauss(nodes)
        times = tf.constant((points[:, None] + 1) / 2, tf.float32)
        difference = lambda field: _sum((self.mass - free_mass) * field**2 + self.coupling * field**4)
        log_prob = lambda field: -self._bilinear(field, free_mass) - times * difference(field)
        kernel = tfp.mcmc.HamiltonianMonteCarlo(log_prob, step_size=0.12, num_leapfrog_steps=8)

        @tf.function(autograph=False, jit_compile=True)
        def differences():
            return tfp.mcmc.sample_chain(
                num_results,
                tf.zeros([nodes, chains, self.side, self.side, 1]),
                kernel=kernel,
                num_burnin_steps=300,
                trace_fn=lambda field, _: difference(field),
                seed=[seed, 0],
            )[1]

        of_chains = differences().numpy().astype(np.float64).mean(axis=0)  # [nodes, chains]
        errors = of_chains.std(axis=1, ddof=1) / math.sqrt(chains)
        integral = weights @ of_chains.mean(axis=1) / 2
        free = 0.5 * np.log(np.pi * self.propagators(free_mass)).sum()
        return free - integral, math.sqrt(((weights / 2 * errors) ** 2).sum())

    def _bilinear(self, field, mass):
        neighbours = sum(tf.roll(field, 1, axis) for axis in (-3, -2))
        return _sum((4 + mass) * field**2 - 2 * field * neighbours)


class LogisticRegression:
    """The posterior of ten coefficients, N(0, 5²) a priori: malignant or benign by an offset and nine features.

    The features are scikit-learn's first nine of "breast cancer", standardised. Radius, perimeter and area of a cell
    nearly determine each other, so the coefficients are strongly correlated.
    """

    size = 10

    def __init__(self):
        features, labels = sklearn.datasets.load_breast_cancer(return_X_y=True)
        features = (features[:, :9] - features[:, :9].mean(axis=0)) / features[:, :9].std(axis=0)
        self._design = tf.constant(np.column_stack([np.ones(len(features)), features]), tf.float32)
        self._labels = tf.constant(labels, tf.float32)

    def log_prob(self, coefficients):
        """Of coefficients [..., 10]."""
        logits = tf.linalg.matmul(coefficients, self._design, transpose_b=True)
        log_likelihood = tf.reduce_sum(self._labels * logits - tf.nn.softplus(logits), axis=-1)
        return log_likelihood - tf.reduce_sum(coefficients**2, axis=-1) / (2 * 5**2)


def _sum(values):
    return tf.reduce_sum(values, axis=[-3, -2, -1])
