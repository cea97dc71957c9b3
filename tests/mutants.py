"""Small faults that the suite must notice: each is put into a copy of the project, whose tests then have to fail.

python -m tests.mutants                         all of them, about ten minutes; exits with 1 if one survives
python -m tests.mutants --only=cache            those whose name contains "cache"
python -m tests.mutants --root=DIR              the mutants of another checkout of the project
"""

import argparse
import dataclasses
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A fault.

    Attributes:
      name: noun phrase.
      path: the file, relative to the root.
      code: text that stands once in the file.
      fault: the text that replaces it.
      tests: arguments of pytest, the tests that must notice.
    """

    name: str
    path: str
    code: str
    fault: str
    tests: tuple[str, ...]


LAWS = "tests/bijectors/test_laws.py"
COMPLETION = "tests/completion/test_posteriors.py"
PARTICLES = ("tests/completion/test_particles.py", "-k=one_channel")
MUTANTS = (
    Mutant(
        "the sign of a term of the mixture's log-det",
        "tfp_realnvp/bijectors/mixture.py",
        "return log_cdf - log_survival, log_density - log_cdf - log_survival",
        "return log_cdf - log_survival, log_density + log_cdf - log_survival",
        (LAWS, "-k=logistic_mixture"),
    ),
    Mutant(
        "the sign of a coupling's log-det",
        "tfp_realnvp/bijectors/coupling.py",
        "return self._mask.merge(kept, result), self._mask.sum_changed(log_slope)",
        "return self._mask.merge(kept, result), -self._mask.sum_changed(log_slope)",
        (LAWS, "-k=channel_first"),
    ),
    Mutant(
        "a batch norm without its log-det",
        "tfp_realnvp/bijectors/normalization.py",
        "-0.5 * _sum_changed(self._mask, tf.math.log(variance), changed)",
        "0.0 * _sum_changed(self._mask, tf.math.log(variance), changed)",
        (LAWS, "-k=norm_channel"),
    ),
    Mutant(
        "a wrong axis in the number of a convolution's pixels",
        "tfp_realnvp/bijectors/convolution.py",
        "num_pixels = tf.reduce_prod(shape[-self._event_ndims : -1])",
        "num_pixels = tf.reduce_prod(shape[-self._event_ndims : -2])",
        (LAWS, "-k=convolution_free"),
    ),
    Mutant(
        "a swapped checkerboard",
        "tfp_realnvp/bijectors/masks.py",
        "return tf.cast((top_left + rows + columns) % 2, tf.float32)",
        "return tf.cast((1 + top_left + rows + columns) % 2, tf.float32)",
        ("tests/bijectors/test_masks.py",),
    ),
    Mutant(
        "a squeeze in another order",
        "tfp_realnvp/bijectors/reshaping.py",
        "_in_order(x, (0, 3, 1, 2))",
        "_in_order(x, (0, 1, 3, 2))",
        ("tests/bijectors/test_reshaping.py",),
    ),
    Mutant(
        "a sequence that forgets the log-det of a layer",
        "tfp_realnvp/bijectors/sequential.py",
        "functools.reduce(operator.add, log_dets or",
        "functools.reduce(operator.add, log_dets[:-1] or",
        (LAWS, "-k=sequential"),
    ),
    Mutant(
        "a dropped constant in the log-det of the logit",
        "tfp_realnvp/bijectors/pixels.py",
        "return -tf.nn.softplus(y) - tf.nn.softplus(-y) - np.log((1 - 2 * self._alpha) / self._num_bins)",
        "return -tf.nn.softplus(y) - tf.nn.softplus(-y)",
        (LAWS, "-k=logit_17"),
    ),
    Mutant(
        "a stale cache: changed values of weights are not noticed",
        "tfp_realnvp/bijectors/passes.py",
        "if len(weights) != len(self._seen_weights) or not all(map(_same, weights, self._seen_weights)):",
        "if len(weights) != len(self._seen_weights):",
        ("tests/bijectors/test_fused.py", "-k=changed_weight_changes and leaf"),
    ),
    Mutant(
        "a stale cache of a chain: answers without the state of the passes inside",
        "tfp_realnvp/bijectors/passes.py",
        "return state_of(inner._cache for inner in _with_passes(self.bijector))",
        "return state_of([])",
        ("tests/bijectors/test_fused.py", "-k=changed_weight_changes and chain"),
    ),
    Mutant(
        "a stale cache across gradient tapes",
        "tfp_realnvp/bijectors/passes.py",
        "return hash((graph, in_training(), initialization.get(), scope.get(), listening_tapes(), *versions))",
        "return hash((graph, in_training(), initialization.get(), *versions))",
        ("tests/bijectors/test_fused.py", "-k=tape or gradient"),
    ),
    Mutant(
        "no gradient at the sample of a graph",
        "tfp_realnvp/bijectors/passes.py",
        "    return tf.identity(x)",
        "    return x",
        (LAWS, "-k=small_graphs"),
    ),
    Mutant(
        "a missing all-reduce",
        "tfp_realnvp/replicas.py",
        "return replica.all_reduce(tf.distribute.ReduceOp.SUM, values)",
        "return values",
        ("tests/test_replicas.py",),
    ),
    Mutant(
        "bins shifted by half",
        "tfp_realnvp/model.py",
        "x if self.num_bins is None else x + 0.5",
        "x if self.num_bins is None else x + 1.0",
        ("tests/test_model.py", "-k=encode"),
    ),
    Mutant(
        "noise that reaches the next bin",
        "tfp_realnvp/dequantization.py",
        "below_one = 1 - num_bins * 2.0**-24",
        "below_one = 1.0",
        ("tests/test_dequantization.py", "-k=bin_of_its_pixel"),
    ),
    Mutant(
        "an unseeded draw",
        "tfp_realnvp/sampling.py",
        "    seed = draw_seed(seed)",
        "    seed = draw_seed(None)",
        ("tests/test_model.py", "-k=sampl"),
    ),
    Mutant(
        "a temperature that scales the mean as well",
        "tfp_realnvp/sampling.py",
        "return mean + tf.cast(temperature, z.dtype) * (z - mean)",
        "return tf.cast(temperature, z.dtype) * (mean + z)",
        ("tests/test_model.py", "-k=temperature"),
    ),
    Mutant(
        "a skipped check: a label one too high",
        "tfp_realnvp/contexts.py",
        "values.max() >= self.num_classes",
        "values.max() > self.num_classes",
        ("tests/test_events.py",),
    ),
    Mutant(
        "a guard that lets every step pass",
        "tfp_realnvp/guard.py",
        "return tf.math.is_finite(total)",
        "return tf.math.is_finite(tf.zeros_like(total))",
        ("tests/test_guard.py",),
    ),
    Mutant(
        "a swapped momentum",
        "tfp_realnvp/networks/moments.py",
        "a + rate * (b - a)",
        "b + rate * (a - b)",
        ("tests/networks/test_layers.py", "-k=moments"),
    ),
    Mutant(
        "a wrong axis in the weight norm",
        "tfp_realnvp/networks/kernels.py",
        "per_channel = dict(axis=[-4, -3, -2], keepdims=True)",
        "per_channel = dict(axis=[-4, -3], keepdims=True)",
        ("tests/networks/test_layers.py", "-k=weight_normalized"),
    ),
    Mutant(
        "moving averages of Bessel's variance",
        "tfp_realnvp/networks/kernels.py",
        "return 1 - x.shape[-1] / tf.cast(tf.size(x), tf.float32)",
        "return tf.ones([])",
        ("tests/networks", "tests/architectures/test_real_nvp.py", "tests/architectures/test_official_checkpoint.py"),
    ),
    Mutant(
        "bits/dim in nats",
        "tfp_realnvp/trainer.py",
        "nats / (math.prod(self.events.shape) * math.log(2))",
        "nats / math.prod(self.events.shape)",
        ("tests/test_model.py", "-k=bits or uniform"),
    ),
    Mutant(
        "Adam without its second bias correction",
        "tfp_realnvp/optimizers/adam.py",
        "correction = tf.sqrt(1 - power(self.beta_2)) / (1 - power(self.beta_1))",
        "correction = 1 / (1 - tf.pow(self.beta_1, step))",
        ("tests/test_optimizers.py",),
    ),
    Mutant(
        "Muon without the step ahead of its momentum",
        "tfp_realnvp/optimizers/muon.py",
        "gradient + momentum * mean",
        "mean",
        ("tests/test_optimizers.py",),
    ),
    Mutant(
        "Muon for vectors",
        "tfp_realnvp/optimizers/muon.py",
        "len(variable.shape) > 1",
        "True",
        ("tests/test_optimizers.py",),
    ),
    Mutant(
        "a code whose last bin is closed",
        "tfp_realnvp/compression/decisions.py",
        "middle + self.size >= self._num_bins",
        "middle + self.size > self._num_bins",
        ("tests/compression/test_codec.py",),
    ),
    Mutant(
        "a mean over draws that forgets their number",
        "tfp_realnvp/evaluation.py",
        "tf.reduce_logsumexp(tf.cast(nats, tf.float64), axis=0)[:size] - math.log(num_draws)",
        "tf.reduce_logsumexp(tf.cast(nats, tf.float64), axis=0)[:size]",
        ("tests/test_evaluation.py",),
    ),
    Mutant(
        "an energy without the flow's log-det",
        "tfp_realnvp/sampling.py",
        "base.log_prob(z) - f.forward_log_det_jacobian(z, event_ndims=len(base.event_shape))",
        "base.log_prob(z)",
        ("tests/energy/test_training.py", "-k=formula"),
    ),
    Mutant(
        "an energy whose temperature stays",
        "tfp_realnvp/energy/training.py",
        "return self._first_beta + (1 - self._first_beta) * part",
        "return self._first_beta + 0 * part",
        ("tests/energy/test_training.py", "-k=formula"),
    ),
    Mutant(
        "weights without the flow's density",
        "tfp_realnvp/energy/weights.py",
        "np.float64(log_p) - log_q, -np.inf)",
        "np.float64(log_p), -np.inf)",
        ("tests/energy/test_weights.py", "-k=formulas or standard_errors"),
    ),
    Mutant(
        "an independence kernel without the densities of its proposals",
        "tfp_realnvp/energy/kernels.py",
        "previous_kernel_results.log_q - log_q)",
        "tf.zeros_like(log_q))",
        ("tests/energy/test_kernels.py", "-k=exact_flow or independence"),
    ),
    Mutant(
        "ranks among the densities of the draws the other way round",
        "tfp_realnvp/calibration.py",
        "log_q > q.log_prob(x)",
        "log_q < q.log_prob(x)",
        ("tests/test_calibration.py", "-k=coverage"),
    ),
    Mutant(
        "a resumed run that begins its data anew",
        "train/data/batches.py",
        "single = single.repeat().skip(examples_of_pass)",
        "single = single.repeat()",
        ("tests/train/data",),
    ),
    Mutant(
        "a log-det of the field's first entries alone",
        "tfp_realnvp/bijectors/divergence.py",
        "return tf.reduce_sum(probes * products, axes), tf.reduce_sum(tf.square(products), axes)",
        "return tf.reduce_sum((probes * products)[:1], axes), tf.reduce_sum(tf.square(products), axes)",
        (LAWS, "-k=continuous"),
    ),
    Mutant(
        "an adjoint equation without the gradient of the log-det",
        "tfp_realnvp/bijectors/solvers.py",
        "grad_y, grad_theta = _gradient(tape, slopes, y, theta, (a, b))",
        "grad_y, grad_theta = _gradient(tape, slopes, y, theta, (a, [0 * each for each in b]))",
        ("tests/bijectors/test_solvers.py",),
    ),
    Mutant(
        "a kept part that the gradient does not reach",
        "tfp_realnvp/bijectors/continuous.py",
        "return velocity, [kept, *contexts,",
        "return velocity, [tf.stop_gradient(kept), *contexts,",
        ("tests/bijectors/test_continuous.py",),
    ),
    Mutant(
        "a first level without its tail",
        "tfp_realnvp/bijectors/bins.py",
        "above = tf.where(is_first, zeros, tf.math.log_sigmoid(-low))",
        "above = tf.math.log_sigmoid(-low)",
        ("tests/bijectors/test_bins.py", "-k=add_up or integral"),
    ),
    Mutant(
        "bins that are shifted by half a level",
        "tfp_realnvp/bijectors/bins.py",
        "high = tf.where(levels == num_bins - 1, levels + 0.5, levels + 1)",
        "low, high = low - 0.5, tf.where(levels == num_bins - 1, levels, levels + 0.5)",
        ("tests/bijectors/test_bins.py", "-k=integral"),
    ),
    Mutant(
        "channels that are found at once, though each predicts the next",
        "tfp_realnvp/bijectors/bins.py",
        "if not bijector_fn(params).forward_min_event_ndims or z.shape[-1] == 1:",
        "if True:",
        ("tests/bijectors/test_bins.py", "-k=bin_of_each_level"),
    ),
    Mutant(
        "a sum over the classes instead of the mean",
        "tfp_realnvp/model.py",
        "- tf.math.log(tf.math.count_nonzero(possible, 1, dtype=nats.dtype))",
        "",
        ("tests/test_labels.py", "-k=log_likelihood and vectors"),
    ),
    Mutant(
        "labels in reverse",
        "tfp_realnvp/model.py",
        "nats = self._log_prob(tf.gather(x, event), label, training, draw)",
        "nats = self._log_prob(tf.gather(x, event), self.num_classes - 1 - label, training, draw)",
        ("tests/test_labels.py", "-k=density_of_its_class"),
    ),
    Mutant(
        "the classes of a mixture in reverse",
        "tfp_realnvp/model.py",
        "classes = tf.range(self.num_classes)[:, tf.newaxis]",
        "classes = tf.range(self.num_classes)[::-1, tf.newaxis]",
        ("tests/test_labels.py", "-k=normal_around_the_mean"),
    ),
    Mutant(
        "an unlabelled event repeated as one class alone",
        "tfp_realnvp/contexts.py",
        "| (labels == UNLABELLED)",
        "| ((labels == UNLABELLED) & (tf.range(self.num_classes, dtype=self.dtype) == 0))",
        ("tests/test_labels.py", "-k=log_likelihood and vectors"),
    ),
    Mutant(
        "a quadrant without the middle",
        "tfp_realnvp/features.py",
        "rows = (slice(0, (height + 1) // 2)",
        "rows = (slice(0, height // 2)",
        ("tests/test_features.py", "-k=quadrant"),
    ),
    Mutant(
        "labels that are not hidden",
        "train/data/few_labels.py",
        "tf.constant(UNLABELLED, example[1].dtype)",
        "example[1]",
        ("tests/train/data/test_few_labels.py", "-k=keeps"),
    ),
    Mutant(
        "an error of a driver taken for a remark",
        "train/startup.py",
        r'r"^E0000 .*Failed call to cuInit: UNKNOWN ERROR \(303\)"',
        '"^E0000 .*cuda_platform"',
        ("tests/train/test_startup.py", "-k=errors_are_shown"),
    ),
    Mutant(
        "a shuffled calibration",
        "tfp_realnvp/anomaly/calibration.py",
        "np.sort(score.oddness(held_out, **parameters))",
        "np.asarray(score.oddness(held_out, **parameters))",
        ("tests/anomaly/test_calibration.py", "-k=count"),
    ),
    Mutant(
        "a p-value that does not count the event itself",
        "tfp_realnvp/anomaly/calibration.py",
        "tf.cast(1 + number - less_odd, tf.float64)",
        "tf.cast(number - less_odd, tf.float64)",
        ("tests/anomaly/test_calibration.py", "-k=count or rate"),
    ),
    Mutant(
        "a calibration by the events that the score was fitted to",
        "tfp_realnvp/anomaly/calibration.py",
        "groups = groups[1::2]",
        "groups = groups[::2]",
        ("tests/anomaly/test_calibration.py", "-k=fitted_to"),
    ),
    Mutant(
        "one-sided typicality",
        "tfp_realnvp/anomaly/scores.py",
        'return abs(tf.reduce_mean(tf.reshape(features, [-1, self.group_size]), axis=1) - parameters["entropy"])',
        'return tf.reduce_mean(tf.reshape(features, [-1, self.group_size]), axis=1) - parameters["entropy"]',
        ("tests/anomaly/test_calibration.py", "-k=wider"),
    ),
    Mutant(
        "scales without their log-dets",
        "tfp_realnvp/anomaly/quantities.py",
        "return self.log_probs_of_latents + self.log_dets",
        "return self.log_probs_of_latents",
        ("tests/anomaly/test_scores.py", "-k=add_up and glow"),
    ),
    Mutant(
        "a fingerprint without the weights",
        "tfp_realnvp/fingerprint.py",
        "digest.update(np.ascontiguousarray(weight).tobytes())",
        "digest.update(b'')",
        ("tests/anomaly/test_detector.py", "-k=other_flows"),
    ),
    Mutant(
        "a completion without the log-det of its logits",
        "tfp_realnvp/completion/coordinates.py",
        "return log_p + tfb.Sigmoid(*known).forward_log_det_jacobian(u, len(self._model.event_shape)), x - 0.5",
        "return log_p, x - 0.5",
        (COMPLETION, "-k=moments_over_the_noise"),
    ),
    Mutant(
        "a completion with the mask inverted",
        "tfp_realnvp/completion/coordinates.py",
        "return tf.where(mask, rows, u)",
        "return tf.where(mask, u, rows)",
        (COMPLETION, "-k=gaussian_given_its_class"),
    ),
    Mutant(
        "a completion with the noise of known levels frozen",
        "tfp_realnvp/completion/coordinates.py",
        "return tfb.Sigmoid(*known).forward(tf.clip_by_value(u, -self._limit, self._limit))",
        "return tfb.Sigmoid(*known).forward(tf.where(known[1] - known[0] == 1, 0.0, u))",
        (COMPLETION, "-k=moments_over_the_noise"),
    ),
    Mutant(
        "a restoration with the wrong weight of the noise",
        "tfp_realnvp/completion/observations.py",
        "return log_prior - 0.5 * tf.reduce_sum(errors**2, axis=range(1, errors.shape.rank))",
        "return log_prior - tf.reduce_sum(errors**2, axis=range(1, errors.shape.rank))",
        (COMPLETION, "-k=noisy_measurements and True"),
    ),
    Mutant(
        "spatial couplings that keep the same patches again",
        "tfp_realnvp/architectures/jet.py",
        "(pattern(row, column) + first) % 2 for pattern",
        "pattern(row, column) % 2 for pattern",
        ("tests/architectures/test_jet.py", "-k=spatial_couplings"),
    ),
    Mutant(
        "attention without the scale of its logits",
        "tfp_realnvp/networks/vit.py",
        "queries * size**-0.5",
        "queries",
        ("tests/networks/test_vit.py", "-k=attention"),
    ),
    Mutant(
        "the gradient of a layer norm without that of the variance",
        "tfp_realnvp/networks/kernels.py",
        "(grad_y - mean(grad_y) - y * mean(grad_y * y))",
        "(grad_y - mean(grad_y))",
        ("tests/networks/test_vit.py", "-k=their_formulas"),
    ),
    Mutant(
        "a whitening by latents",
        "tfp_realnvp/bijectors/convolution.py",
        "with setting(initialization, False):",
        "with setting(initialization, initialization.get()):",
        ("tests/networks/test_actnorm.py", "-k=latents"),
    ),
    Mutant(
        "a completion by particles without their weights",
        "tfp_realnvp/completion/particles.py",
        "of_known = tf.where(marks > 0, log_probs, tf.zeros_like(log_probs))",
        "of_known = tf.zeros_like(log_probs)",
        PARTICLES,
    ),
    Mutant(
        "a completion by particles that draw the known levels too",
        "tfp_realnvp/completion/particles.py",
        "given=tf.abs(marks) - 1",
        "given=-marks - 1",
        PARTICLES,
    ),
    Mutant(
        "a completion by particles that do not take the levels of their ancestors",
        "tfp_realnvp/completion/particles.py",
        "return self._gathered(kept, ancestors), self._gathered(levels, ancestors)",
        "return kept, self._gathered(levels, ancestors)",
        PARTICLES,
    ),
    Mutant(
        "a completion by particles that forget the state of their chain",
        "tfp_realnvp/completion/particles.py",
        "first = tf.where(known > 0, known, -(states + 1))",
        "first = tf.where(known > 0, known, 0 * states)",
        PARTICLES,
    ),
    Mutant(
        "a swap of latents with the wrong image",
        "train/figures/latents.py",
        "coarse_latents(model, z_coarse, num_kept, z_fine)",
        "coarse_latents(model, z_fine, num_kept, z_coarse)",
        ("tests/train/figures/test_latents.py", "-k=latents_of_one_image and unconditional"),
    ),
    Mutant(
        "a comparison that counts the examples of a step as its time",
        "train/runs/metrics.py",
        "(step - before) * batch_size / line",
        "step * batch_size / line",
        ("tests/train/test_add_pretrained.py", "-k=seconds"),
    ),
    Mutant(
        "a pretrained model that is not checked",
        "tfp_realnvp/model_zoo.py",
        'hexdigest() != card["sha256"]',
        'hexdigest() == ""',
        ("tests/test_model_zoo.py", "-k=damaged"),
    ),
    Mutant(
        "a page whose cells are not escaped",
        "train/reporting/parts.py",
        'return f"<td{attribute}>{html.escape(cell_text(value))}</td>"',
        'return f"<td{attribute}>{cell_text(value)}</td>"',
        ("tests/train/test_report.py", "-k=escaped"),
    ),
)


def copy_of_project(root: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The files of the project in a new folder."""
    names = ("tfp_realnvp", "train", "tests", "benchmarks", "docs", "pyproject.toml", "README.md", "Makefile")
    for name in names:
        source = root / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    return folder


def is_caught(mutant: Mutant, root: pathlib.Path) -> bool:
    """Whether the mutant's tests fail.

    Raises:
      ValueError: where the code to replace does not stand once in the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of_project(root, pathlib.Path(folder))
        path = copy / mutant.path
        text = path.read_text()
        if text.count(mutant.code) != 1:
            raise ValueError(f"{mutant.path} must have this once; got {text.count(mutant.code)} times: {mutant.code}")
        path.write_text(text.replace(mutant.code, mutant.fault))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # 1 is pytest's code for tests that failed.
        raise ValueError(f"tests of {mutant.name!r} must run; got {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="part of the names of the mutants to try")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="the project to mutate")
    options = parser.parse_args()
    survivors = []
    for mutant in (mutant for mutant in MUTANTS if options.only in mutant.name):
        start = time.monotonic()
        caught = is_caught(mutant, options.root)
        print(f"{'caught  ' if caught else 'SURVIVED'} {time.monotonic() - start:5.0f} s  {mutant.name}", flush=True)
        survivors += [] if caught else [mutant.name]
    if survivors:
        raise SystemExit(f"{len(survivors)} survived: {survivors}")


if __name__ == "__main__":
    main()
