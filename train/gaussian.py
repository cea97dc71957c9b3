"""The conditional mean of a Gaussian: the baseline of completion."""

import numpy as np

RIDGE = 1.0
"""Added to each variance, in squared levels, so that constant pixels leave the covariance invertible."""


def completed(training_images: np.ndarray, images: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The images with the conditional means of their unknown entries, of a Gaussian with the training images' moments.

    ```none
    x̂ = μ_u + Σ_uk (Σ_kk + λ)⁻¹ (x_k − μ_k)
    ```

    Args:
      training_images: array [M] + event_shape.
      images: array [N] + event_shape; unknown entries play no part.
      mask: bool array of shape event_shape, True where known.

    Returns:
      float array [N] + event_shape.

    Example: `completed(training_images, images, mask)[:, ~mask]`
    """
    rows, known = training_images.reshape(len(training_images), -1).astype(np.float64), mask.ravel()
    mean, covariance = rows.mean(axis=0), np.cov(rows.T) + RIDGE * np.eye(rows.shape[1])
    weights = np.linalg.solve(covariance[known][:, known], covariance[known][:, ~known])
    result = images.reshape(len(images), -1).astype(np.float64)
    result[:, ~known] = mean[~known] + (result[:, known] - mean[known]) @ weights
    return result.reshape(images.shape)
