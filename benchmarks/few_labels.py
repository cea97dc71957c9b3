"""Classifies MNIST's test images with 100 labels of the training images; all other images have no label.

  python -m benchmarks.few_labels --data_dir=DIR

Three classifiers see the first 60 principal components of the pixels: logistic regression on the labelled images alone,
label spreading on the graph of all images and their nearest neighbours, and `VectorRealNVP` given the class, trained on
the labels that the graph is surest of. The flow classifies by Bayes' rule and needs no graph of the tested images.
"""

import time

import numpy as np
from absl import app, flags
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

import tfp_realnvp as rnvp
from benchmarks import report
from benchmarks.label_spreading import spread, surest
from train import data, probe
from train.configs import default
from train.data.few_labels import few_of_each_class

_DATASET = flags.DEFINE_string("dataset", "mnist", "Name of the data set, as config.dataset.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TFDS's data sets; default: TFDS's own.")
_NUM_LABELS = flags.DEFINE_integer("num_labels", 100, "Labels that the classifiers see.", lower_bound=2)
_EPOCHS = flags.DEFINE_integer("epochs", 6, "Passes of the flow over its labels.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the choice of labels and of the flow.", lower_bound=0)

NUM_COMPONENTS = 60
SHARE_KEPT = 0.8
"""The share of the training images whose spread labels train the flow."""


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
      training, test: (images [N, ...], labels [N]). The classifiers see all images, and few of the training labels.
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
