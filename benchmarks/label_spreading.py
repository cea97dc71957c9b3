"""Label spreading on the graph of points and their nearest neighbours, for `few_labels`.

D. Zhou et al., Learning with local and global consistency, 2003.
"""

import numpy as np
import scipy.sparse
from sklearn.neighbors import NearestNeighbors


def spread(points, labels, num_classes, num_neighbors=10, alpha=0.99, num_steps=300):
    """The scores of the classes of each point, an array [N, num_classes]: F ← α S F + (1 − α) Y.

    Y has the known labels. S = D^−½ W D^−½ for the weights exp(−2 d² / d_k²) of a point and its k nearest neighbours.

    Args:
      points: float array [N, size].
      labels: int array [N], −1 where unknown.
      num_classes, num_neighbors, alpha, num_steps: C, k, α and the number of repetitions.
    """
    neighbors = NearestNeighbors(n_neighbors=num_neighbors, algorithm="brute").fit(points)
    distances, places = neighbors.kneighbors()  # Without the points themselves.
    weights = np.exp(-2 * (distances / distances[:, -1:]) ** 2)
    rows = np.repeat(np.arange(len(points)), num_neighbors)
    graph = scipy.sparse.csr_matrix((weights.ravel(), (rows, places.ravel())), shape=[len(points)] * 2)
    graph = graph.maximum(graph.T)
    scale = scipy.sparse.diags(np.asarray(graph.sum(axis=1)).ravel() ** -0.5)
    step = alpha * (scale @ graph @ scale)
    known = (labels[:, np.newaxis] == np.arange(num_classes)).astype(float)
    scores = known
    for _ in range(num_steps):
        scores = step @ scores + (1 - alpha) * known
    return scores


def surest(scores, share):
    """The class with the highest score of each row, and −1 for the rows whose highest score has a small part of all."""
    confidence = scores.max(axis=1) / (scores.sum(axis=1) + 1e-300)  # Labels do not reach every part of a graph.
    return np.where(confidence >= np.quantile(confidence, 1 - share), scores.argmax(axis=1), -1)
