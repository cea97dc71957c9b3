"""The shape k of the generalised Pareto distribution in the tail of importance weights."""

import math

import numpy as np


def tail_shape(log_weights: np.ndarray) -> float:
    """k̂ of the largest weights: below 0.5 their variance is finite, above 0.7 their mean cannot be trusted.

    The tail holds the min(n / 5, 3 √n) largest weights. Zhang and Stephens's estimate is the mean of k over a
    quasi-posterior of the scale. As in PSIS, ten observations of k = ½ stabilise it.

    ```none
    p(y) = (1 + k y / σ)^(−1 − 1/k) / σ,    y = w − the largest weight outside of the tail
    ```

    Args:
      log_weights: float array [n] with at least 25 entries, up to a constant.

    Returns:
      float; −infinity for a tail of equal weights.

    Example: `tail_shape(np.random.default_rng(0).exponential(0.3, 10_000))` is near 0.3.

    References: arXiv 1507.02646, section 3 and appendix; Zhang and Stephens, A New and Efficient Estimation Method for
    the Generalized Pareto Distribution, Technometrics 51, 2009.
    """
    size = int(min(len(log_weights) / 5, 3 * math.sqrt(len(log_weights))))
    largest = np.sort(log_weights)[-size - 1 :]
    weights = np.exp(largest - largest[-1])
    y = weights[1:] - weights[0]
    quartile = y[round(size / 4) - 1]
    if quartile <= 0:
        return -math.inf
    num_points = 30 + int(math.sqrt(size))
    b = (1 - np.sqrt(num_points / (np.arange(num_points) + 0.5))) / (3 * quartile) + 1 / y[-1]  # −k / σ
    k = np.log1p(-b[:, None] * y).mean(axis=1)
    log_likelihood = size * (np.log(-b / k) - k - 1)
    probability = 1 / np.exp(log_likelihood - log_likelihood[:, None]).sum(axis=1)
    shape = np.log1p(-(b @ probability) * y).mean()
    return float((size * shape + 10 * 0.5) / (size + 10))
