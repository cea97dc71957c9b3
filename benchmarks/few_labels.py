"""Classifies MNIST's test images with 100 labels of the training images; all other images have no label.

  python -m benchmarks.few_labels --data_dir=DIR

Three classifiers see the first 60 principal components of the pixels: logistic regression on the labelled images alone,
label spreading on the graph of all images and their nearest neighbours, and `VectorRealNVP` given the class, trained on
the labels that the graph is surest of. The flow classifies by Bayes' rule and needs no graph of the tested images.

D. Zhou et al., Learning with local and global consistency, 2003, for label spreading.
"""

import time

import numpy as np
import scipy.sparse
from absl import app, flags
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

import tfp_realnvp as rnvp
from benchmarks import report
from train import data, probe
from train.configs import default
from train.data.few_labels import few_of_each_class

_DATASET = flags.DEFINE_string("dataset", "mnist", "Name of the data set, as config.dataset.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TFDS's data sets; default: TFDS's own.")
_NUM_LABELS = flags.DEFINE_integer("num_labels", 100, "Labels that the classifiers see.", lower_bound=2)
_EPOCHS = flags.DEFINE_integer("epochs", 6, "Passes of the flow over its labels.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the choice of labels and of the flow.", lower_bound=0)

NUM_COMPONENTS, NUM_NEIGHBORS = 60, 10
SHARE_KEPT = 0.8
"""The share of the training images whose spread labels train the flow."""


def spread(points, labels, num_classes, num_neighbors=NUM_NEIGHBORS, alpha=0.99, num_steps=300):
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


def flow(points, labels, num_classes, epochs, seed):
    """A `VectorRealNVP` given the class, trained on the rows with labels."""
    known = labels >= 0
    model = rnvp.VectorRealNVP(points.shape[1:], 4, (128,), num_classes=num_classes, seed=seed)
    model.adapt(points[known], labels[known])
    model.compile(rnvp.optimizers.Adam(2e-3))
    model.fit(points[known], labels[known], batch_size=256, epochs=epochs, verbose=2)
    return model


def compared(training, test, num_labels, epochs, seed):
    """The rows of the table: the accuracy of each classifier on the test images.

    Args:
      training, test: (images [N, ...], labels [N]), of which only the test images and `num_labels` labels are used.
      num_labels, epochs, seed: see the flags.
    """
    num_classes = int(training[1].max()) + 1
    start = time.process_time()
    chosen = few_of_each_class(training[1], num_labels, num_classes, seed)
    pixels, tested = (images.reshape(len(images), -1).astype("float32") for images, _ in (training, test))
    components = PCA(NUM_COMPONENTS, random_state=seed).fit(pixels)
    points, tested = (components.transform(part).astype("float32") for part in (pixels, tested))
    rows = []

    def add(name, predicted):
        accuracy = float(np.mean(predicted == test[1]))
        rows.append({"classifier": name, "accuracy": accuracy, "CPU seconds": time.process_time() - start})

    labels = np.full(len(points), -1)
    labels[chosen] = training[1][chosen]
    add("logistic regression", LogisticRegression(max_iter=1000).fit(points[chosen], labels[chosen]).predict(tested))
    every = np.concatenate([points, tested]), np.concatenate([labels, np.full(len(tested), -1)])
    scores = spread(*every, num_classes)
    add("label spreading, test images in the graph", scores[len(points) :].argmax(axis=1))
    spread_labels = surest(spread(points, labels, num_classes), SHARE_KEPT)
    model = flow(points, spread_labels, num_classes, epochs, seed)
    add("VectorRealNVP of spread labels", model.classify(tested))
    return rows


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; every setting is a flag, such as --num_labels=100")
    config = default.get_config()
    config.dataset, config.conditional = _DATASET.value, True
    splits = [probe.arrays_of(data.load(config, split, _DATA_DIR.value)) for split in ("train", "test")]
    rows = compared(*splits, _NUM_LABELS.value, _EPOCHS.value, _SEED.value)
    print(*report.table(rows), "The seconds add up.", sep="\n")


if __name__ == "__main__":
    app.run(main)
