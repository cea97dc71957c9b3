"""Training a config in a workdir, from its last checkpoint on, and the evaluation at its end."""

import functools
import json
import math
import sys

import keras

from train import callbacks, checkpoints, checks, data, evaluate, models, pictures, precision, strategies
from train.optimizer import optimizer
from train.workdir import check_workdir, only_run_in, write_json

BEST = "checkpoints/best.keras"
VERBOSE = 1 if sys.stdout.isatty() else 2  # a progress bar, or a line an epoch


def train_and_evaluate(config, workdir, data_dir=None, strategy=None):
    """Trains a config, resuming from the workdir's last checkpoint if there is one, and evaluates the best epoch.

    A run that is stopped at whatever moment and given again ends with the same weights, metrics and result as one that
    is not. With `config.ema_momentum` the moving averages of the weights are what is validated, drawn from, kept as the
    best checkpoint and evaluated. The last checkpoint holds both: training goes on from the weights themselves.

    With several workers each of them calls this. They train together, on their shares of each batch; the chief alone
    writes into the workdir, and evaluates.

    Args:
      config: `ml_collections.ConfigDict` with the fields of `train/configs/default.py`.
      workdir: `pathlib.Path`, the folder of the run; made if it is not there.
      data_dir: see `data.load`.
      strategy: `tf.distribute.Strategy`, such as those of `strategies`; default the current one.

    Returns:
      The dictionary that it writes to `result.json`; None for a worker that is not the chief.

    Raises:
      ValueError: for unknown fields or values of the config, data that are not there, or a workdir that holds the run
        of another config (nothing is written into it), that another run is in, or none of whose checkpoints can be
        loaded; or `config.max_skipped` steps in a row whose loss or gradient is not finite (the last good checkpoint is
        kept); or a batch that the replicas cannot share equally.
      ConnectionError: where another worker has died.
      OSError: where something cannot be written, such as on a full disk; the checkpoints are kept.
      SystemExit: with the code 0, when SIGTERM has come and the next step is saved.
    """
    config, strategy = checks.check(config), strategy or strategies.none()
    check_workdir(config, workdir)
    strategies.check_batch_size(strategy, config.batch_size)
    strategies.check_steps_per_execution(strategy, config.steps_per_execution)
    examples = data.load(config, config.train_split, data_dir)
    validation = data.load(config, config.validation_split, data_dir) if config.validation_split else None
    test = data.load(config, config.test_split, data_dir)
    if test.num_bins is None and config.evaluation.num_draws > 1:
        raise ValueError(f"evaluation.num_draws must be 1 for continuous data; got {config.evaluation.num_draws}")
    precision.warn_if_slow(config.model.get("dtype") or "float32")

    keras.utils.set_random_seed(config.seed)
    steps_per_epoch = config.steps_per_epoch or data.steps_per_pass(examples, config.batch_size)
    checks.check_steps_per_execution(config, steps_per_epoch)
    batches_from = functools.partial(
        data.training_batches, examples, config.batch_size, config.seed, flip=config.flip, shift=config.shift
    )
    saved = checkpoints.Checkpoints(workdir / "checkpoints", config.checkpoint.keep)
    with checkpoints.termination() as termination, strategies.all_workers(strategy):
        with strategy.scope():
            # Before anything is written: it may be an error.
            new = None if saved.paths() else begun(config, examples, batches_from(), steps_per_epoch)
        with strategies.own_folder(strategy, workdir) as folder, only_run_in(folder):
            write_json(folder / "config.json", json.loads(config.to_json_best_effort()))
            with strategy.scope():
                model = saved.load() or new
            step = checkpoints.step_of(model)
            strategies.check_workdir_is_shared(strategy, workdir, step)
            if step:
                print(f"going on from step {step}")
            if step < config.epochs * steps_per_epoch:
                own = checkpoints.Checkpoints(folder / "checkpoints", config.checkpoint.keep)
                saving = checkpoints.Saving(
                    own,
                    steps_per_epoch,
                    config.checkpoint.steps,
                    config.checkpoint.minutes,
                    strategies.AnyWorker(strategy, termination),
                )
                batches = strategy.distribute_datasets_from_function(
                    lambda context: batches_from(step, input_context=context)
                )
                fit(model, config, folder, batches, validation, steps_per_epoch, saving)
            return finish(saved, test, validation, config, workdir) if strategies.is_chief(strategy) else None


def finish(saved, test, validation, config, workdir):
    """Evaluates the best checkpoint of a run that is through, the last one without a validation, and leaves its model.

    Args:
      saved: `checkpoints.Checkpoints`.
      test, validation: `Examples`; the latter may be None.
      config, workdir: as for `train_and_evaluate`.

    Returns:
      The dictionary that it writes to `result.json`.
    """
    best = workdir / BEST
    final = checkpoints.load_best(best) if validation and best.exists() else saved.load()
    if final.dtype_policy.compute_dtype != final.dtype_policy.variable_dtype:
        final = final.with_dtype(final.dtype_policy.variable_dtype)  # so that decode gives back what encode got
    final.save(workdir / "model.keras")
    result = evaluate.write_result(final, test, config, workdir, "model.keras")
    with pictures.dispensable():
        pictures.write_samples(final, workdir / "samples", "final")
    accuracy = f", accuracy {result['accuracy']:.4f}," if "accuracy" in result else ""
    print(
        f"{config.test_split}: {result['bits_per_dim']:.4f} bits/dim{accuracy} over {result['num_examples']} examples; "
        f"model and pictures of samples in {workdir}"
    )
    return result


def begun(config, examples, batches, steps_per_epoch):
    """A new model, compiled, with what is set before the first step: by all of the examples, and by the first batch."""
    model = models.new_model(config, examples)
    if config.adapt:
        model.adapt(data.evaluation_batches(examples, config.evaluation.batch_size))
    if model.needs_initialization:  # not by fit, which would iterate the shuffled data once more
        model.initialize(next(iter(batches)))
    model.compile(optimizer(config, steps_per_epoch), steps_per_execution=config.steps_per_execution)
    return model


def fit(model, config, workdir, batches, validation, steps_per_epoch, saving):
    """Trains the model from the step that it is at to the last of the config, and leaves a checkpoint of it.

    Args:
      model: `FlowModel`, compiled.
      config, workdir: as for `train_and_evaluate`.
      batches: `tf.data.Dataset`, or a distributed one, from the model's step on.
      validation: `Examples`, or None.
      steps_per_epoch: int.
      saving: `checkpoints.Saving`.
    """
    epoch = checkpoints.step_of(model) // steps_per_epoch
    monitor = "val_bits_per_dim" if validation else "bits_per_dim"
    # The averaged weights are the model's in validation, and from `swap` to `swap_back` after each epoch.
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    swap_back = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: swap.on_epoch_begin(epoch))
    best = keras.callbacks.ModelCheckpoint(
        workdir / BEST,
        monitor,
        mode="min",
        save_best_only=True,
        initial_value_threshold=best_so_far(workdir, monitor, epoch),
    )
    (workdir / BEST).parent.mkdir(exist_ok=True)
    model.fit(
        batches,
        steps_per_epoch=steps_per_epoch,
        initial_epoch=epoch,
        epochs=config.epochs,
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


def best_so_far(workdir, monitor, epoch):
    """The best value of the first `epoch` epochs in metrics.jsonl, infinity for a new run."""
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines()[:epoch] if path.exists() else []
    values = (json.loads(line)[monitor] for line in lines)
    return min((value for value in values if math.isfinite(value)), default=math.inf)
