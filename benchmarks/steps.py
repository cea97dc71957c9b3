"""Parts 1 to 3: the training step and its efficiency, log-probabilities and samples, for our flows and the peers."""

from benchmarks import report, timing
from benchmarks.peers import (
    BARE,
    BARE_OF_OURS,
    LIMIT_OF_PRECISION,
    MATRIX_PRODUCT,
    NFLOWS_BFLOAT16,
    OF_PRECISION,
    OUR_GLOW,
    OUR_SUBPIXEL,
    OUR_VECTORS,
    OURS,
    OURS_BFLOAT16,
    PEERS,
    TFP_VECTORS,
)

# The targets.
OF_MATRIX_PRODUCT = {"float32": 0.80, "bfloat16": 0.65}
OF_FASTEST_PEER = {OURS: 0.85, OURS_BFLOAT16: 0.55}
OF_BARE_NETWORKS = 1.10
OF_LOG_PROB = {OUR_SUBPIXEL: 2.5, OUR_GLOW: None}  # The time of samples.


def flows(run):
    """The names of the flows; flows in bfloat16 only if the machine supports it."""
    of_bfloat16 = (OURS_BFLOAT16, NFLOWS_BFLOAT16) if "bfloat16" in run.precisions else ()
    return (OURS, *PEERS, OUR_VECTORS, TFP_VECTORS, *of_bfloat16)


def training(run):
    """The training step of config A over the peers, the matrix product, the bare networks and the convolutions."""
    limits = [LIMIT_OF_PRECISION[precision] for precision in run.precisions]
    contestants = [(name, "train_step") for name in (*flows(run), BARE, BARE_OF_OURS, *limits)]
    products = [(MATRIX_PRODUCT, precision) for precision in run.precisions]
    measured = timing.measured(run.pool, [*contestants, *products], run.repetitions)
    ratios, fastest = over_peers(measured, "train_step"), fastest_peers(measured, "train_step")[0]
    for precision in run.precisions:
        step, limit = (measured[of[precision], "train_step"] for of in (OF_PRECISION, LIMIT_OF_PRECISION))
        product = measured[MATRIX_PRODUCT, precision]
        ratios.append(report.over_in_rate(step, product, at_least=OF_MATRIX_PRODUCT[precision]))
        # TensorFlow's convolutions limit the speed of any flow.
        ratios += [report.over_in_rate(limit, product), report.over(limit, fastest), report.over(step, limit)]
    ours = measured[OURS, "train_step"]
    for bare in (BARE, BARE_OF_OURS):
        ratios.append(report.over(ours, measured[bare, "train_step"], at_most=OF_BARE_NETWORKS))
    return ratios, [measurement.row() for measurement in measured.values()]


def throughput(run):
    """Log-probabilities and samples of 64 images at a time, over the peers, and samples of other families of ours."""
    pairs = [(name, method) for method in ("log_prob", "sample") for name in (*flows(run), *OF_LOG_PROB)]
    measured = timing.measured(run.pool, pairs, run.repetitions)
    ratios = over_peers(measured, "log_prob") + over_peers(measured, "sample")
    for name, target in OF_LOG_PROB.items():
        seconds = measured[name, "sample"].median / measured[name, "log_prob"].median
        ratios.append(report.Ratio(f"seconds of {name}: sample / log_prob", seconds, at_most=target))
    return ratios, [measurement.row() for measurement in measured.values()]


def over_peers(measured, method):
    """Our flows over each peer at equal FLOPs, the fastest peer first: the target is relative to it."""
    fastest, *others = fastest_peers(measured, method)
    ratios = []
    for name, target in OF_FASTEST_PEER.items():
        if ours := measured.get((name, method)):
            ratios.append(report.over(ours, fastest, at_most=target))
            ratios += [report.over(ours, peer) for peer in others]
    if (NFLOWS_BFLOAT16, method) in measured:
        ratios.append(report.over(measured[OURS_BFLOAT16, method], measured[NFLOWS_BFLOAT16, method]))
    ratios.append(report.over(measured[OUR_VECTORS, method], measured[TFP_VECTORS, method]))
    return ratios


def fastest_peers(measured, method):
    """The peers' measurements, the fastest at equal FLOPs first."""
    return sorted((measured[name, method] for name in PEERS), key=lambda peer: -peer.flops_per_second)
