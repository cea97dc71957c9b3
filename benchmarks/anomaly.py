"""Compares flows with isolation forest and LOF as detectors of anomalies, on scikit-learn's five embedded tables.

  python -m benchmarks.anomaly

The smallest class of a table, of equally small ones the last, is the anomaly. The other classes are ordinary: a random
half of their rows trains the detectors, without labels. The other half and all anomalies are tested. The diabetes table
has no classes: its anomalies are the tested rows with each column shuffled, which breaks the dependence of the columns.
All detectors get the same rows, standardized by the training rows, without columns that are constant there.

The flow is the one of train/configs/breast_cancer.py, without the class: a fifth of the training rows is for the
validation likelihood, by which the decay of the weights and the epoch are chosen. Its score is
`rnvp.anomaly.Likelihood`.
"""

import time

import keras
import numpy as np
import sklearn.datasets
import sklearn.metrics
from absl import app, flags
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

import tfp_realnvp as rnvp
from benchmarks import report
from train import optimizers
from train.configs import breast_cancer

_SEEDS = flags.DEFINE_integer("seeds", 3, "Splits of each table, over which AUROC is averaged.", lower_bound=1)

DECAYS = 0.0, 3.0, 10.0
"""Each is `config.weight_decay`; small tables need more of it."""

TABLES = {
    "iris": sklearn.datasets.load_iris,
    "wine": sklearn.datasets.load_wine,
    "breast cancer": sklearn.datasets.load_breast_cancer,
    "digits": sklearn.datasets.load_digits,
    "diabetes": sklearn.datasets.load_diabetes,
}


def split_table(name, seed):
    """The training rows, the tested rows, and whether each of these is an anomaly."""
    bunch, rng = TABLES[name](), np.random.default_rng(seed)
    rows, classes = bunch.data, getattr(bunch, "target_names", None)
    if classes is None:
        ordinary = rng.permutation(rows)
    else:
        sizes = np.bincount(bunch.target)
        smallest = np.flatnonzero(sizes == sizes.min())[-1]
        ordinary, anomalies = rng.permutation(rows[bunch.target != smallest]), rows[bunch.target == smallest]
    training, ordinary = np.array_split(ordinary, 2)
    if classes is None:
        anomalies = rng.permuted(ordinary, axis=0)
    varies = training[len(training) // 5 :].std(axis=0) > 0  # without the validation rows, as the flow sees them
    standardize = lambda part: ((part - training.mean(axis=0))[:, varies] / training.std(axis=0)[varies]).astype(
        "float32"
    )
    tested = np.concatenate([ordinary, anomalies])
    return standardize(training), standardize(tested), np.repeat([0, 1], [len(ordinary), len(anomalies)])


def flow(training, tested, seed):
    """The oddness of the tested rows by the flow with the best validation likelihood."""
    validation, training = np.split(training, [len(training) // 5])
    _, model = min((trained(training, validation, decay, seed) for decay in DECAYS), key=lambda found: found[0])
    score = rnvp.anomaly.Likelihood()
    (features,) = rnvp.anomaly.measuring(model, [score])(tested, batch_size=len(tested))
    return score.oddness(features)


def trained(training, validation, decay, seed):
    """The best loss on the validation rows of all epochs, and the flow of that epoch."""
    config = breast_cancer.get_config()
    config.weight_decay = decay
    model = rnvp.VectorRealNVP(training.shape[1:], seed=seed, **config.model.to_dict())
    model.adapt(training)
    steps = -(-len(training) // config.batch_size)
    model.compile(optimizers.make_optimizer(config, steps))
    best = keras.callbacks.EarlyStopping("val_loss", patience=config.epochs, restore_best_weights=True)
    keras.utils.set_random_seed(seed)  # the order of the rows
    history = model.fit(
        training,
        validation_data=validation,
        batch_size=config.batch_size,
        epochs=config.epochs,
        callbacks=[best],
        verbose=0,
    )
    return min(history.history["val_loss"]), model


def isolation_forest(training, tested, seed):
    """The oddness of the tested rows by scikit-learn's isolation forest."""
    return -IsolationForest(random_state=seed).fit(training).score_samples(tested)


def local_outlier_factor(training, tested, seed):
    """The oddness of the tested rows by scikit-learn's local outlier factor, 20 neighbours."""
    del seed
    return -LocalOutlierFactor(novelty=True).fit(training).score_samples(tested)


DETECTORS = {"flow": flow, "isolation forest": isolation_forest, "LOF": local_outlier_factor}


def compared(seeds):
    """The rows of the table: AUROC of each detector on each table, averaged over the seeds, and their means."""
    rows = []
    for name in TABLES:
        aurocs = {detector: [] for detector in DETECTORS}
        for seed in range(seeds):
            training, tested, is_anomaly = split_table(name, seed)
            for detector, oddness in DETECTORS.items():
                aurocs[detector].append(sklearn.metrics.roc_auc_score(is_anomaly, oddness(training, tested, seed)))
        sizes = {"columns": training.shape[1], "training rows": len(training), "anomalies": int(is_anomaly.sum())}
        rows.append({"table": name, **sizes, **{detector: np.mean(values) for detector, values in aurocs.items()}})
    mean = {detector: np.mean([row[detector] for row in rows]) for detector in DETECTORS}
    return [*rows, {"table": "mean", **mean}]


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; every setting is a flag, such as --seeds=1")
    start = time.process_time()
    rows = compared(_SEEDS.value)
    shown = [{key: f"{value:.3f}" if isinstance(value, float) else value for key, value in row.items()} for row in rows]
    print(*report.table(shown), f"{time.process_time() - start:.0f} CPU seconds", sep="\n")


if __name__ == "__main__":
    app.run(main)
