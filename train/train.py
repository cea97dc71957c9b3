"""Training a config in a workdir, from its last checkpoint on, and the evaluation at its end."""

import functools
import json
import math
import os
import pathlib
import sys
from typing import Any

import keras
import ml_collections
import tensorflow as tf

import tfp_realnvp as rnvp

from . import checks, data, evaluate, models
from .figures import pictures
from .phases import Phase, num_scales, phases_of
from .runs import callbacks, checkpoints, strategies
from .runs.workdir import check_workdir, only_run_in, write_json

BEST = "checkpoints/best.keras"
MOST_IMAGES = 10_000  # for a flow's standardization
VERBOSE = 1 if sys.stdout.isatty() else 2  # a progress bar, or one line per epoch


def train_and_evaluate(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> dict[str, Any] | None:
    """Trains a config, resuming from the workdir's last checkpoint if there is one, and evaluates the best epoch.

    A run may be stopped at any moment. Called again, it ends with the same weights, metrics and result as a run without
    a stop. With `config.ema_momentum` the moving averages of the weights are validated, sampled from, kept as the best
    checkpoint and evaluated. The last checkpoint holds both, and training resumes from the weights themselves.

    With several workers each of them calls this. They train together, each on its part of every batch. The chief alone
    writes into the workdir, and evaluates.

    Args:
      config: `ml_collections.ConfigDict` with the fields of `train/configs/default.py`.
      workdir: the folder of the run, made if it is missing.
      data_dir: see `data.load`.
      strategy: `tf.distribute.Strategy`, such as one of `strategies`; default: the current one.

    Returns:
      The dictionary of `result.json`; None for a worker that is not the chief.

    Raises:
      ValueError: for unknown fields or values of the config, missing data, or a batch without equal parts for the
        replicas. Also for a workdir that holds the run of another config (nothing is written into it), that another run
        is using, or without any checkpoint that can be loaded. Also after `config.max_skipped` steps in a row whose
        loss or gradient is not finite, or if no step has left a model with a finite loss (the last good checkpoint is
        kept).
      ConnectionError: if another worker has died.
      OSError: if a file cannot be written, such as on a full disk; the checkpoints are kept.
      SystemExit: with the code 0 after SIGTERM, or 130 after SIGINT (Ctrl-C), once the next step is saved.
    """
    strategy = strategy or strategies.none()
    config, splits, steps_per_epoch = checks.check_run(config, workdir, strategy, data_dir)
    keras.utils.set_random_seed(config.seed)

    batches_from = functools.partial(
        data.training_batches, splits.training, config.batch_size, config.seed, flip=config.flip, shift=config.shift
    )
    saved = checkpoints.Checkpoints(workdir / "checkpoints", config.checkpoint.keep)
    with checkpoints.termination() as termination, strategies.all_workers(strategy):
        with strategy.scope():
            # A new model can raise an error, so it is made before anything is written.
            new = None if saved.paths() else new_model(config, splits.training, batches_from(), steps_per_epoch)
        with strategies.own_folder(strategy, workdir) as folder, only_run_in(folder):
            check_workdir(config, folder)  # Another run may have been here since the first check.
            write_json(folder / "config.json", json.loads(config.to_json_best_effort()))
            with strategy.scope():
                model = new if new and not saved.paths() else saved.load()
            step = checkpoints.step_of(model)
            strategies.check_workdir_is_shared(strategy, workdir, step)
            if step:
                print(f"going on from step {step}")
            if step < config.epochs * steps_per_epoch:
                own = checkpoints.Checkpoints(folder / "checkpoints", config.checkpoint.keep)
                probe = checkpoints.Probe(model, next(iter(data.evaluation_batches(splits.training, 16))))
                saving = checkpoints.Saving(
                    own,
                    steps_per_epoch,
                    config.checkpoint.steps,
                    config.checkpoint.minutes,
                    strategies.AnyWorker(strategy, termination),
                    probe.is_good,
                )
                for phase in phases_of(config):
                    step = checkpoints.step_of(model)
                    if step >= phase.epochs * steps_per_epoch:
                        continue
                    if step and step == phase.first_epoch * steps_per_epoch:  # `new_model` has begun the first one.
                        with strategy.scope():
                            phase.begin(model, config, steps_per_epoch)
                    batches = strategy.distribute_datasets_from_function(
                        lambda context, step=step: batches_from(step, input_context=context)
                    )
                    fit(model, config, phase, folder, batches, splits.validation, steps_per_epoch, saving, probe)
            return evaluate_best(saved, splits, config, workdir) if strategies.is_chief(strategy) else None


def new_model(
    config: ml_collections.ConfigDict, examples: data.Examples, batches: tf.data.Dataset, steps_per_epoch: int
) -> rnvp.FlowModel:
    """A new flow, compiled, adapted to the examples and initialized by the first batch, if it needs either."""
    model = models.new_flow(config, examples)
    evaluate.check_evaluation(model, config)
    if config.adapt:
        model.adapt(adaptation_batches(config, examples, batches))
    if model.needs_initialization:  # `fit` would initialize it too, but iterate the shuffled data once more for it.
        model.initialize(next(iter(batches)))
    phases_of(config)[0].begin(model, config, steps_per_epoch)
    return model


def adaptation_batches(
    config: ml_collections.ConfigDict, examples: data.Examples, batches: tf.data.Dataset
) -> tf.data.Dataset:
    """The events from which a flow learns its standardization: all of them, or the first batches of many images.

    An image has many pixels, so a part of a large data set gives the same moments. The batches of training are
    shuffled: the first images of a data set in the order of its classes would be all alike.

    Args:
      config, examples, batches: as for `new_model`.
    """
    if len(examples.event_shape) == 3 and examples.size > MOST_IMAGES:
        return batches.take(MOST_IMAGES // config.batch_size or 1)
    return data.evaluation_batches(examples, config.evaluation.batch_size)


def fit(
    model: rnvp.FlowModel,
    config: ml_collections.ConfigDict,
    phase: Phase,
    workdir: pathlib.Path,
    batches: tf.data.Dataset,
    validation: data.Examples | None,
    steps_per_epoch: int,
    saving: checkpoints.Saving,
    probe: checkpoints.Probe,
) -> None:
    """Trains the model from its present step to the last step of a phase, and leaves a checkpoint of it.

    Args:
      model: `FlowModel`, compiled for the phase.
      config, workdir: as for `train_and_evaluate`.
      phase: `Phase` of the present step.
      batches: `tf.data.Dataset`, or a distributed one, from the model's step on.
      validation: `Examples`, or None.
      steps_per_epoch: number of steps of an epoch.
      saving, probe: `checkpoints.Saving` and `checkpoints.Probe`.
    """
    epoch = checkpoints.step_of(model) // steps_per_epoch
    monitor = "val_bits_per_dim" if validation else "bits_per_dim"
    # The model has the averaged weights in validation, and from `swap` to `swap_back` after each epoch.
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    swap_back = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: swap.on_epoch_begin(epoch))
    best_so_far = checkpoints.best_so_far(workdir / BEST) if epoch else math.inf
    best = checkpoints.Best(workdir / BEST, monitor, best_so_far, probe.is_good)
    (workdir / BEST).parent.mkdir(exist_ok=True)
    model.fit(
        batches,
        steps_per_epoch=steps_per_epoch,
        initial_epoch=epoch,
        epochs=phase.epochs,
        shuffle=False,
        validation_data=validation and data.evaluation_batches(validation, config.evaluation.batch_size),
        verbose=VERBOSE,
        callbacks=[
            callbacks.Throughput(config.batch_size),
            callbacks.SkippedSteps(config.max_skipped),
            callbacks.MetricsFile(workdir / "metrics.jsonl", epoch),
            keras.callbacks.TensorBoard(workdir / "tensorboard", write_graph=False),
            *([swap] if config.ema_momentum else []),
            callbacks.SamplePictures(
                workdir / "samples", workdir / "tensorboard/samples", config.samples_every, config.epochs
            ),
            best,
            swap_back,
            saving,
        ],
    )


def evaluate_best(
    saved: checkpoints.Checkpoints, splits: data.Splits, config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> dict[str, Any]:
    """Evaluates the best checkpoint of a finished run (without validation: the last one), and saves its model.

    Args:
      saved: the run's `checkpoints.Checkpoints`.
      splits: the run's `data.Splits`.
      config, workdir: as for `train_and_evaluate`.

    Returns:
      The dictionary of `result.json`.
    """
    if not saved.paths():
        raise ValueError(f"the run leaves no checkpoint: its loss is not finite, or has exploded. {checkpoints.ADVICE}")
    best = workdir / BEST
    final = checkpoints.load_best(best) if splits.validation and best.exists() else saved.load()
    if final.dtype_policy.compute_dtype != final.dtype_policy.variable_dtype:
        final = final.with_dtype(final.dtype_policy.variable_dtype)  # Only then decode inverts encode exactly.
    if config.progressive and isinstance(final, rnvp.MRCNF):
        final.train_scales(range(num_scales(config)))  # The model is not to keep the frozen scales of the last phase.
    final.save(workdir / "model.keras")
    result = evaluate.write_result(final, splits.test, config, workdir, "model.keras")
    with pictures.warn_if_not_drawn():
        pictures.write_samples(final, workdir / "samples", "final")
    accuracy = f", accuracy {result['accuracy']:.4f}," if "accuracy" in result else ""
    print(
        f"{config.test_split}: {evaluate.bits_per_dim_text(result)}{accuracy} over {result['num_examples']} examples; "
        f"model and pictures of samples in {workdir}"
    )
    return result
