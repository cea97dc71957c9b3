"""Trains flows on unnormalised densities and compares them with quadrature, thermodynamic integration and plain HMC.

  python -m benchmarks.energy --figures=docs/figures

The parts are a double well in the plane, φ⁴ theory on 8×8 sites at two couplings, and the posterior of ten strongly
correlated coefficients. `--only` takes some of them. Seconds are of this process's CPU time.
"""

import math
import pathlib
import time
import warnings

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from absl import app, flags
from matplotlib import pyplot
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfp_realnvp as rnvp
from benchmarks import energy_targets, report
from tfp_realnvp.bijectors import Coupling, Squeeze
from tfp_realnvp.bijectors.masks import Channel

PARTS = ("double_well", "phi4", "neutra")
_ONLY = flags.DEFINE_list("only", list(PARTS), f"Some of {', '.join(PARTS)}.")
_STEPS = flags.DEFINE_integer("phi4_steps", 900, "Training steps of each φ⁴ flow.", lower_bound=1)
_COUPLINGS = flags.DEFINE_list("couplings", ["8", "6"], "The λ of φ⁴ theory.")
_FIGURES = flags.DEFINE_string("figures", "benchmarks/results", "Folder of the pictures.")
KNOTS, BOUND = 8, 1.5  # of the splines
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the flows, samples and chains.", lower_bound=0)


@keras.saving.register_keras_serializable(package="benchmarks")
class PeriodicNet(keras.layers.Layer):
    """Convolutions over a torus: 3×3, 1×1 and again 3×3. The output begins at 0."""

    def __init__(self, filters, out_channels, seed, **kwargs):
        super().__init__(**kwargs)
        options = lambda layer: dict(
            activation="gelu", kernel_initializer=keras.initializers.GlorotUniform(seed + layer)
        )
        self.first = keras.layers.Conv2D(filters, 3, **options(0))
        self.second = keras.layers.Conv2D(filters, 1, **options(1))
        self.last = keras.layers.Conv2D(out_channels, 3, kernel_initializer="zeros")

    def build(self, input_shape):
        self.first.build(input_shape)
        for layer in (self.second, self.last):
            layer.build((*input_shape[:-1], self.first.filters))

    def call(self, x):
        return self.last(_wrapped(self.second(self.first(_wrapped(x)))))


def _wrapped(x):
    """Images with one more row and column on each side, from the opposite side."""
    x = tf.concat([x[:, -1:], x, x[:, :1]], axis=1)
    return tf.concat([x[:, :, -1:], x, x[:, :, :1]], axis=2)


def lattice_flow(target, num_couplings, filters, seed):
    """A flow from the free theory that is nearest to the target, by splines, to fields on a torus.

    Given the odd sites of the checkerboard, the even sites of φ⁴ theory are independent and far from normal: a spline
    of each can be their distribution, an affine map cannot. The couplings change the even and the odd sites in turn.
    After `Squeeze(diagonal_first=True)` the even sites are the first two of four channels.
    """
    nets = [PeriodicNet(filters, 2 * (3 * KNOTS - 1), 100 * seed + 3 * n) for n in range(num_couplings)]
    couplings = [Coupling(Channel(keep_first=n % 2 == 0), net, _spline) for n, net in enumerate(nets)]
    squeeze = Squeeze(diagonal_first=True)
    free_field = target.free_field(target.effective_mass())
    bijector = tfb.Chain([tfb.Invert(squeeze), *couplings, squeeze, free_field])
    latents = tfd.Sample(tfd.Normal(0.0, 1.0), target.side**2)
    return rnvp.FlowModel(tfd.TransformedDistribution(latents, bijector), None, seed)


def _spline(parameters):
    """Parameters [..., channels · (3K − 1)] ↦ an increasing spline of each channel, the identity beyond `BOUND`."""
    shape = tf.concat([tf.shape(parameters)[:-1], [-1, 3 * KNOTS - 1]], 0)
    widths, heights, slopes = tf.split(tf.reshape(parameters, shape), [KNOTS, KNOTS, KNOTS - 1], axis=-1)
    positive = lambda logits: 2 * BOUND * (0.01 / KNOTS + 0.99 * tf.nn.softmax(logits))
    slopes = 0.01 + tf.nn.softplus(slopes + 0.53)
    return tfb.RationalQuadraticSpline(positive(widths), positive(heights), slopes, range_min=-BOUND)


def train(model, log_prob, steps, learning_rate, batch_size, seed, temperature=4.0):
    """Trains with a learning rate that falls to zero by a cosine; the history and the CPU seconds."""
    model.compile(
        rnvp.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps), global_clipnorm=50)
    )
    start = time.process_time()
    per_epoch = max(1, steps // 30)
    steps = steps // per_epoch * per_epoch
    options = dict(temperature=temperature, steps_per_epoch=per_epoch, verbose=0, seed=seed)
    history = rnvp.energy.fit(model, log_prob, steps, batch_size, **options)
    return history.history, time.process_time() - start


def weighed(model, log_prob, seed, n=10_000):
    """`weigh`, and its warnings as text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = rnvp.energy.weigh(model, log_prob, n, seed=seed)
    return result, [str(each.message) for each in caught if each.category is UserWarning]


def row(name, result, reference, error, seconds, messages):
    """A row of the table of log Z."""
    total = math.hypot(result.log_z_error, error)
    return {
        "target": name,
        "log Z": f"{result.log_z:.4f} ± {result.log_z_error:.4f}",
        "reference": f"{reference:.4f} ± {error:.4f}",
        "difference / error": (result.log_z - reference) / total,
        "ESS / n": result.ess / len(result.samples),
        "forward ESS / n": result.forward_ess / len(result.samples),
        "k": result.pareto_k,
        "seconds": f"{seconds:.0f}",
        "warnings": "; ".join(messages) or "none",
    }


def compare_double_well(seed):
    """A flow of the double well, and a normal distribution in one of its wells, which `weigh` has to report."""
    target, reference = energy_targets.double_well, energy_targets.log_z_of_double_well()
    model = rnvp.VectorRealNVP((2,), num_couplings=8, hidden_units=(32, 32), seed=seed)
    _, seconds = train(model, target, 2000, 3e-3, 256, seed)
    result, messages = weighed(model, target, seed)
    rows = [row("double well", result, reference, 0.0, seconds, messages)]
    in_one_well, messages = weighed(rnvp.FlowModel(_normal(-2.5, 0.3)), target, seed)
    return [
        *rows,
        row("double well, by a normal distribution in one", in_one_well, reference, 0.0, 0, messages),
    ], result


def _normal(mean, deviation):
    bijector = tfb.Chain([tfb.Shift(tf.constant([mean, 0.0])), tfb.Scale(tf.constant([deviation, 1.0]))])
    return tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), bijector)


def compare_phi4(coupling, steps, seed):
    """A flow of φ⁴ theory beside thermodynamic integration."""
    target = energy_targets.Phi4(coupling=coupling)
    start = time.process_time()
    reference, error = target.log_z(seed=seed)
    of_reference = time.process_time() - start
    model = lattice_flow(target, num_couplings=4, filters=32, seed=seed)
    history, seconds = train(model, target.log_prob, steps, 5e-3, 64, seed, temperature=1.0)
    result, messages = weighed(model, target.log_prob, seed)
    name = f"φ⁴, 8×8, m² = {target.mass:g}, λ = {coupling:g}"
    return {**row(name, result, reference, error, seconds, messages), "reference's": f"{of_reference:.0f}"}, history


def compare_kernels(seed):
    """ESS per second of plain HMC of several lengths, and of NeuTra by a trained flow."""
    target = energy_targets.LogisticRegression()
    model = rnvp.VectorRealNVP((target.size,), num_couplings=4, hidden_units=(32,), seed=seed)
    _, seconds = train(model, target.log_prob, 2000, 3e-3, 128, seed)
    result, messages = weighed(model, target.log_prob, seed)
    print(f"flow: {seconds:.0f} s, ESS / n {result.ess / 10_000:.3f}, k {result.pareto_k:.2f}", messages, flush=True)
    start = tf.constant(result.resample(16, seed))
    rows = []
    for steps in (4, 16, 64):
        kernel = tfp.mcmc.HamiltonianMonteCarlo(target.log_prob, 0.1, steps)
        rows.append({"kernel": f"HMC, {steps} leapfrog steps", **measured(kernel, start, seed)})
    kernel = rnvp.energy.kernel(model, target.log_prob, kind="neutra")
    rows.append({"kernel": "NeuTra", **measured(kernel, start, seed)})
    kernel = rnvp.energy.kernel(model, target.log_prob, kind="independence")
    rows.append({"kernel": "independence Metropolis", **measured(kernel, start, seed, adapts=False)})
    return rows


def measured(kernel, start, seed, adapts=True, num_results=1000, num_adaptation=500):
    """The smallest ESS of the entries and their squares over 16 chains, and the CPU seconds with the adaptation's."""
    if adapts:
        kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(kernel, num_adaptation, target_accept_prob=0.8)

    @tf.function(autograph=False)
    def chains(seed):
        return tfp.mcmc.sample_chain(
            num_results, start, kernel=kernel, num_burnin_steps=num_adaptation, trace_fn=None, seed=seed
        )

    chains.get_concrete_function(tf.TensorSpec([2], tf.int32))
    before = time.process_time()
    states = chains(tf.constant([seed, 1]))
    seconds = time.process_time() - before
    centred = states - tf.reduce_mean(states, axis=[0, 1])
    both = tf.concat([states, centred**2], axis=-1)
    ess = tfp.mcmc.effective_sample_size(both, cross_chain_dims=1, filter_beyond_positive_pairs=True)
    r_hat = tfp.mcmc.potential_scale_reduction(both, split_chains=True)
    ess = float(tf.reduce_min(ess))
    return {"ESS": ess, "seconds": seconds, "ESS / second": ess / seconds, "largest R̂": float(tf.reduce_max(r_hat))}


def draw_double_well(result, path):
    """The density beside the flow's samples and the weighted histogram of x₀."""
    grid = np.linspace(-4, 4, 400)
    exact = np.exp(energy_targets.double_well(tf.constant(np.stack([grid, 0 * grid], axis=-1))))
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    axes[0].scatter(*result.samples[:3000].T, s=2, alpha=0.4)
    axes[0].set(title="samples of the flow", xlabel="x₀", ylabel="x₁")
    bins = np.linspace(-4, 4, 81)
    first = result.samples[:, 0]
    axes[1].hist(first, bins, density=True, alpha=0.4, label="flow")
    axes[1].hist(first, bins, density=True, weights=np.exp(result.log_weights), histtype="step", label="weighted")
    axes[1].plot(grid, exact / np.trapezoid(exact, grid), "k", linewidth=1, label="exact")
    axes[1].set(xlabel="x₀", yticks=[])
    axes[1].legend()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def draw_phi4(histories, path):
    """The mean ESS of a batch over the training, for each coupling."""
    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    for name, (history, steps) in histories.items():
        axes.plot(np.linspace(0, steps, len(history["ess"]) + 1)[1:], history["ess"], label=name)
    axes.set(xlabel="steps", ylabel="ESS / n of a batch", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; every setting is a flag, such as --only=phi4")
    if set(_ONLY.value) - set(PARTS):
        raise app.UsageError(f"--only must name some of {', '.join(PARTS)}; got {_ONLY.value}")
    folder, seed = pathlib.Path(_FIGURES.value), _SEED.value
    folder.mkdir(parents=True, exist_ok=True)
    if "double_well" in _ONLY.value:
        rows, result = compare_double_well(seed)
        print(*report.table(rows), sep="\n", flush=True)
        draw_double_well(result, folder / "energy_double_well.png")
    if "phi4" in _ONLY.value:
        rows, histories = [], {}
        for coupling in map(float, _COUPLINGS.value):
            line, history = compare_phi4(coupling, _STEPS.value, seed)
            print(*report.table([line]), sep="\n", flush=True)
            rows.append(line)
            histories[f"λ = {coupling:g}"] = (history, _STEPS.value)
        print(*report.table(rows), sep="\n", flush=True)
        draw_phi4(histories, folder / "energy_phi4.png")
    if "neutra" in _ONLY.value:
        print(*report.table(compare_kernels(seed)), sep="\n", flush=True)


if __name__ == "__main__":
    app.run(main)
