"""Trains a conditional flow on simulations of predators and prey, and checks it as a posterior.

  python -m benchmarks.calibration --figures=docs/figures

The first flow sees few simulations for many epochs; the second sees twenty times as many. Ranks are of new simulations.
"""

import pathlib
import time

import numpy as np
from absl import app, flags

import tfp_realnvp as rnvp
from benchmarks import report
from train.figures.calibration import calibration
from train.figures.panels import save_png

_FIGURES = flags.DEFINE_string("figures", "benchmarks/results", "Folder of the pictures.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the simulations and flows.", lower_bound=0)
NAMES = ("growth", "predation")


def simulate(number, seed):
    """Logarithms of the rates of growth and predation, N(0, ½²), and ten noisy logarithms of both populations."""
    rng = np.random.default_rng(seed)
    parameters = 0.5 * rng.normal(size=[number, 2])
    growth, predation = np.exp(parameters).T
    prey, predators, observed = np.full(number, 1.0), np.full(number, 1.0), []
    for step in range(1000):  # Euler's method up to t = 10.
        both = prey * predators
        prey, predators = prey + 0.01 * (growth * prey - predation * both), predators + 0.01 * (both - predators)
        if step % 200 == 199:
            observed += [np.log(prey), np.log(predators)]
    observed = np.stack(observed, axis=1)
    noisy = observed + 0.3 * rng.normal(size=observed.shape)
    return parameters.astype("float32"), noisy.astype("float32")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; every setting is a flag, such as --seed=1")
    folder, seed, rows = pathlib.Path(_FIGURES.value), _SEED.value, []
    held_out = simulate(1000, seed + 1)
    for name, number, epochs in (("overconfident", 500, 100), ("calibrated", 10_000, 10)):
        simulations = simulate(number, seed)
        start = time.process_time()
        model = rnvp.VectorRealNVP((2,), 6, (32, 32), context_size=10, seed=seed)
        model.adapt(*simulations)
        model.compile(rnvp.optimizers.Adam(2e-3))
        model.fit(*simulations, batch_size=50, epochs=epochs, verbose=0)
        seconds = time.process_time() - start
        ranks = rnvp.calibration.rank(model, held_out, seed=seed)
        save_png(calibration(ranks, NAMES), folder / f"calibration_{name}.png")
        p_values, coverage = ranks.p_values(), ranks.coverage([0.5, 0.9])
        columns = (*(f"p, {entry}" for entry in NAMES), "p, density", "coverage of 50%", "coverage of 90%")
        values = [f"{value:.2g}" for value in (*p_values, *coverage)]
        nats = float(model.predict(held_out, batch_size=200, verbose=0).mean())
        rows.append({"simulations": number, "epochs": epochs, **dict(zip(columns, values, strict=True))})
        rows[-1] |= {"log q, held out": nats, "seconds": f"{seconds:.0f}"}
        print(*report.table(rows[-1:]), sep="\n", flush=True)
    print(*report.table(rows), sep="\n")


if __name__ == "__main__":
    app.run(main)
