"""Part vectors: couplings over vectors of few and many entries, in small and large batches, over the peers."""

import dataclasses

from benchmarks import report, timing, workers
from benchmarks.peers import OF_VECTORS, OUR_VECTORS, TFP_VECTORS, Maker

SIZES = (2, 63)
NUMBERS = (256, 16_384)
METHODS = ("train_step", "log_prob", "sample")
OF_TFP = {"train_step": 0.9, "log_prob": 1.0, "sample": 1.0}  # The targets, at equal FLOPs.


def measure_vectors(run):
    """Training steps, log-probabilities and samples for each size and number of vectors."""
    run.pool.close()
    ratios, rows = [], []
    for size in SIZES:
        for number in NUMBERS:
            label = f"{number:,} of {size}"
            makers = {name: Maker(path, dict(size=size, number=number)) for name, path in OF_VECTORS.items()}
            pool = workers.Pool(run.report, makers)
            measured = timing.measured(pool, [(name, method) for method in METHODS for name in makers], run.repetitions)
            pool.close()
            rows += [{"vectors": label, **measurement.row()} for measurement in measured.values()]
            for method in METHODS:
                for name in [name for name in makers if name != OUR_VECTORS]:
                    target = OF_TFP[method] if name == TFP_VECTORS else None
                    ratio = report.over(measured[OUR_VECTORS, method], measured[name, method], at_most=target)
                    ratios.append(dataclasses.replace(ratio, name=f"{label}, {ratio.name}"))
    return ratios, rows
