"""What the program does: training, evaluation, recalibration, samples and figures of a config in a workdir."""

import functools
import importlib
import importlib.metadata
import inspect
import itertools
import json
import math
import os
import pathlib
import platform
import sys

import keras
import numpy as np
from absl import logging

import tfp_realnvp as rnvp
from tfp_realnvp import architectures
from tfp_realnvp.architectures import official_checkpoint
from train import callbacks, checkpoints, data, figures, pictures, strategies
from train.configs import default
from train.workdir import only_run_in, write_json

BEST = "checkpoints/best.keras"
VERBOSE = 1 if sys.stdout.isatty() else 2  # a progress bar, or a line an epoch
EVALUATED = (  # the fields that an evaluation is of, whatever the model was trained with
    "dataset",
    "conditional",
    "test_split",
    "image_size",
    "grayscale",
    "central_crop",
    "shorter_side",
    "antialias",
    "crop",
    "evaluation",
)
CONDITIONING = ("num_classes", "context_size")  # what a conditional flow is told of its data
DECAYS = {  # config.decay ↦ function of the config, the number of steps to decay in, and that of an epoch
    "cosine": lambda config, steps, _: keras.optimizers.schedules.CosineDecay(
        config.learning_rate, steps, alpha=config.final_learning_rate / config.learning_rate
    ),
    "linear": lambda config, steps, _: keras.optimizers.schedules.PolynomialDecay(
        config.learning_rate, steps, config.final_learning_rate
    ),
    "exponential": lambda config, _, steps_per_epoch: keras.optimizers.schedules.ExponentialDecay(
        config.learning_rate, steps_per_epoch, config.decay_rate, staircase=True
    ),
}


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
    config, strategy = check(config), strategy or strategies.none()
    check_workdir(config, workdir)
    strategies.check_batch_size(strategy, config.batch_size)
    strategies.check_steps_per_execution(strategy, config.steps_per_execution)
    examples = data.load(config, config.train_split, data_dir)
    validation = data.load(config, config.validation_split, data_dir) if config.validation_split else None
    test = data.load(config, config.test_split, data_dir)
    if test.num_bins is None and config.evaluation.num_draws > 1:
        raise ValueError(f"evaluation.num_draws must be 1 for continuous data; got {config.evaluation.num_draws}")

    keras.utils.set_random_seed(config.seed)
    steps_per_epoch = config.steps_per_epoch or data.steps_per_pass(examples, config.batch_size)
    check_steps_per_execution(config, steps_per_epoch)
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
    result = write_result(final, test, config, workdir, "model.keras")
    with pictures.dispensable():
        write_pictures(final, workdir / "samples", "final")
    accuracy = f", accuracy {result['accuracy']:.4f}," if "accuracy" in result else ""
    print(
        f"{config.test_split}: {result['bits_per_dim']:.4f} bits/dim{accuracy} over {result['num_examples']} examples; "
        f"model and pictures of samples in {workdir}"
    )
    return result


def begun(config, examples, batches, steps_per_epoch):
    """A new model, compiled, with what is set before the first step: by all of the examples, and by the first batch."""
    model = new_model(config, examples)
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


def evaluate(config, workdir, data_dir=None, model_file="model.keras"):
    """Evaluates the workdir's model on every example of `config.test_split` and writes `result.json`.

    Args:
      config, workdir, data_dir: as for `train_and_evaluate`. With `config.init_from_official` it is the checkpoint's
        model that is evaluated, without any training.
      model_file: name of the model's file in the workdir.

    Returns:
      The dictionary that it writes, see `write_result`.

    Raises:
      ValueError: where the workdir holds no model, or the data are not there or do not fit the model.
    """
    config = check(config)
    model, test = load(config, workdir, model_file, config.test_split, data_dir)
    result = write_result(model, test, config, workdir, model_file)
    print(json.dumps(result, indent=2))
    return result


def recalibrate(config, workdir, data_dir=None, model_file="model.keras"):
    """Saves the model with its moving moments estimated anew over the training split, as model_recalibrated.keras.

    Returns:
      The path of the new file; the old one stays as it was.

    Raises:
      ValueError: where the workdir holds no model, or the data are not there or do not fit the model.
    """
    config = check(config)
    model, examples = load(config, workdir, model_file, config.train_split, data_dir)
    rnvp.evaluation.recalibrate(model, data.evaluation_batches(examples, config.evaluation.batch_size))
    path = workdir / "model_recalibrated.keras"
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    print(f"wrote {path}; --mode=evaluate --model={path.name} evaluates it")
    return path


def draw_figures(config, workdir, data_dir=None, model_file="model.keras", seed=0):
    """Draws the figures of the paper from the workdir's model into figures/, and for TensorBoard.

    Returns:
      The paths of the PNG files.

    Raises:
      ValueError: where the workdir holds no model of images, or a conditional one, or the data are not there or do not
        fit the model.
    """
    config = check(config)
    if config.conditional:
        raise ValueError("conditional must be False for the figures, which are of an unconditional flow; got True")
    model, test = load(config, workdir, model_file, config.test_split, data_dir)
    examples = data.load(config, config.train_split, data_dir)
    paths = figures.write(
        model,
        first_images(examples, 60_000),
        first_images(test, 200),
        workdir / "figures",
        workdir / "tensorboard/figures",
        seed,
    )
    print("\n".join(f"wrote {path}" for path in paths))
    return paths


def sample(config, workdir, data_dir=None, model_file="model.keras", num_samples=None, temperature=1.0, seed=0):
    """Draws samples from the workdir's model: a picture of up to 64, and with `num_samples` an .npy file of them all.

    For a model that is conditioned on labels there is a second picture, of each class.

    Raises:
      ValueError: where the workdir holds no model, or `num_samples` are asked of one that is conditioned on vectors.
    """
    model, _ = load(check(config), workdir, model_file, None, data_dir)
    folder = workdir / "samples"
    for path in write_pictures(model, folder, "samples", min(num_samples or 64, 64), temperature, seed):
        print(f"wrote {path}")
    if num_samples:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "samples.npy", model.sample(num_samples, temperature, seed))
        print(f"wrote {folder / 'samples.npy'}")


def score(config, workdir, data_dir, model_file="model.keras"):
    """Writes the log-likelihood of each picture of a folder by the workdir's model: a line of scores.jsonl each.

    ```none
    {"file": "a/0001.png", "nats": -5917.2, "bits_per_dim": 2.779}
    {"file": "a/0002.png", "error": "the picture must have shape (32, 32, 3); got (8, 8, 3)"}
    ```

    The pictures are taken as they are. One that cannot be scored gets a line that says why, and holds up no other.

    Args:
      config, workdir, model_file: as for `evaluate`; with `config.evaluation.num_draws` the importance-weighted bound.
      data_dir: the folder; all pictures anywhere below it, by their paths from there, in order.

    Returns:
      The path of scores.jsonl, which is replaced as a whole.

    Raises:
      ValueError: where the workdir holds no model, or one that is not of images alone, or the folder no picture that it
        can score. An older scores.jsonl then stays.
    """
    config, paths = check(config), data.pictures(data_dir)
    if config.init_from_official and config.dataset != "folder":  # the folder would be taken for TFDS's
        raise ValueError(f"dataset must be folder for mode=score of init_from_official; got {config.dataset!r}")
    model, _ = load(config, workdir, model_file, None, data_dir)
    if model.num_bins is None or model.context_size:
        raise ValueError(f"model must be one of images without a context for mode=score; {model_file} is another")
    path, scored, refused = workdir / "scores.jsonl", [], []
    draft = path.with_name(path.name + ".tmp")
    workdir.mkdir(parents=True, exist_ok=True)
    with draft.open("w") as file:
        for line in score_lines(model, paths, data_dir, config.evaluation.batch_size, config.evaluation.num_draws):
            file.write(json.dumps(line) + "\n")
            (refused if "error" in line else scored).append(line)
    if not scored:
        draft.unlink()
        first = refused[0]
        raise ValueError(f"data_dir must hold pictures that fit the model; of {first['file']} {first['error']}")
    os.replace(draft, path)
    mean = sum(line["bits_per_dim"] for line in scored) / len(scored)
    print(f"{len(scored)} pictures with {mean:.4f} bits/dim on average in {path}")
    if refused:
        logging.warning(f"{len(refused)} pictures could not be scored: their lines in {path} say why")
    return path


def score_lines(model, paths, folder, batch_size, num_draws):
    """Yields the lines of `score`: dictionaries of file, nats and bits_per_dim, or of file and error."""
    for start in range(0, len(paths), batch_size):
        lines, images = [], []
        for path in paths[start : start + batch_size]:
            lines.append({"file": pathlib.Path(path).relative_to(folder).as_posix()})
            try:
                images.append(data.picture(path, model.event_shape, model.num_bins))
            except ValueError as error:
                lines[-1]["error"] = str(error)
        nats = rnvp.evaluation.log_likelihood(model, np.stack(images), num_draws) if images else []
        for line, value in zip((line for line in lines if "error" not in line), nats, strict=True):
            line.update(nats=float(value), bits_per_dim=float(-value / (math.prod(model.event_shape) * math.log(2))))
        yield from lines


def write_pictures(model, folder, name, num_samples=64, temperature=1.0, seed=0):
    """Writes the pictures of samples that fit the model: of any, and of each class.

    Args:
      model: `FlowModel`.
      folder: `pathlib.Path`, made if it is not there.
      name: str, of the PNG file of any; that of each class is classes.png.
      num_samples, temperature, seed: as for `pictures.of_samples`.

    Returns:
      List of the paths, empty for a model of vectors that are not drawn.
    """
    drawn = {
        name: pictures.of_samples(model, num_samples, temperature, seed),
        "classes": pictures.of_classes(model, temperature=temperature, seed=seed),
    }
    paths = {folder / f"{name}.png": pixels for name, pixels in drawn.items() if pixels is not None}
    for path, pixels in paths.items():
        pictures.save(pixels, path)
    return list(paths)


def new_model(config, examples):
    """The config's model, with the weights of `config.init_from_official` if it names a checkpoint.

    Raises:
      ValueError: where the architecture cannot be conditioned on what the data are conditioned on.
    """
    flow = architecture(config)
    given = {name: getattr(examples, name) for name in CONDITIONING if getattr(examples, name) is not None}
    for name in {*given} - {*inspect.signature(flow).parameters}:
        raise ValueError(
            f"architecture must be one that takes {name} for conditional=True with dataset={config.dataset}; got "
            f"{config.architecture}"
        )
    model = flow(examples.event_shape, num_bins=examples.num_bins, seed=config.seed, **given, **config.model.to_dict())
    if config.init_from_official:
        official_checkpoint.load_weights(model, config.init_from_official)
        print(f"weights of {config.init_from_official}, with {config.model.to_dict()}")
    return model


def architecture(config):
    """The class of the config's flow: one of tfp_realnvp's, or "module.Class" of any module that can be imported.

    Raises:
      ValueError: where there is no such class.
    """
    if config.architecture in architectures.__all__:
        return getattr(architectures, config.architecture)
    module, _, name = config.architecture.rpartition(".")
    try:
        flow = getattr(importlib.import_module(module), name)
        if not (isinstance(flow, type) and issubclass(flow, rnvp.FlowModel)):
            raise ValueError(f"{flow} is no FlowModel")
        return flow
    except (ImportError, ValueError, AttributeError) as error:
        raise ValueError(
            f"architecture must be one of {sorted(architectures.__all__)}, or the module.Class of your own; got "
            f"{config.architecture!r} ({error})"
        ) from error


def optimizer(config, steps_per_epoch):
    """Adam with a linear warm-up to the learning rate, which is held until `config.decay_start` and then decays.

    With `config.ema_momentum` it keeps the moving averages of the weights.
    """
    steps = config.epochs * steps_per_epoch
    start = max(config.warmup_steps, round(config.decay_start * steps))
    decay = DECAYS[config.decay](config, max(steps - start, 1), steps_per_epoch)
    schedule = rnvp.optimizers.WarmUp(decay, config.warmup_steps, start)
    return rnvp.optimizers.Adam(
        schedule,
        beta_2=config.beta_2,
        epsilon=1e-8,
        global_clipnorm=config.clip_norm,
        use_ema=config.ema_momentum > 0,
        ema_momentum=config.ema_momentum,
    )


def write_result(model, examples, config, workdir, model_file):
    """Measures bits/dim of every example and writes it, with all that it takes to repeat it, to `result.json`.

    Returns:
      The dictionary: bits_per_dim with its standard_error, loss (nats), and, where there is batch norm,
      batch_moments: the same with the moments of batches of config.evaluation.batch_size; accuracy (where the flow is
      conditioned on labels, of its guesses of them); split, num_examples, step, num_draws, seed (of the noise), model
      (the file), config, versions.
    """
    batches = data.evaluation_batches(examples, config.evaluation.batch_size)
    num_draws = config.evaluation.num_draws

    def measured(batch_moments):
        nats = rnvp.evaluation.log_likelihood(model, batches, num_draws, batch_moments)
        mean, standard_error = rnvp.evaluation.bits_per_dim(model, nats)
        error = {} if math.isnan(standard_error) else {"standard_error": standard_error}
        return {"bits_per_dim": mean, **error, "loss": float(-nats.mean())}

    result = measured(batch_moments=False)
    if rnvp.evaluation.has_moments(model):
        result["batch_moments"] = measured(batch_moments=True)
        difference = result["bits_per_dim"] - result["batch_moments"]["bits_per_dim"]
        if abs(difference) > 0.05:
            logging.warning(
                f"bits/dim with moving moments ({result['bits_per_dim']:.4f}) and with the moments of batches "
                f"({result['batch_moments']['bits_per_dim']:.4f}) differ by {difference:.4f}, more than 0.05: "
                "--mode=recalibrate estimates the moving ones anew"
            )
    if examples.num_classes is not None:
        hits = [model.classify(events, num_draws=num_draws) == labels for events, labels in batches.as_numpy_iterator()]
        result["accuracy"] = float(np.concatenate(hits).mean())
    result.update(
        split=config.test_split,
        num_examples=examples.size,
        step=checkpoints.step_of(model) if model.compiled else 0,
        num_draws=num_draws,
        seed=model.seed,
        model=config.init_from_official or model_file,
        config=evaluated_config(config, workdir),
        versions=versions(),
    )
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "result.json", result)
    return result


def evaluated_config(config, workdir):
    """The config that the workdir's model was trained with, but for the fields that tell what it is evaluated on."""
    here, path = json.loads(config.to_json_best_effort()), workdir / "config.json"
    if config.init_from_official or not path.exists():
        return here
    return {**json.loads(path.read_text()), **{name: here[name] for name in EVALUATED}}


def versions():
    """The versions of Python and of the packages that a result depends on."""
    packages = ("tensorflow", "tensorflow-probability", "keras", "tensorflow-datasets", "numpy")
    installed = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), "tfp_realnvp": rnvp.__version__, **installed}


def load(config, workdir, model_file, split, data_dir):
    """The workdir's trained model (or the config's official checkpoint's), and the examples of a split (None: None)."""
    path, examples = workdir / model_file, None
    if not config.init_from_official and not path.exists():
        raise ValueError(f"workdir must hold a trained model; there is no {path}. Train one with --mode=train")
    if config.init_from_official or split is not None:
        examples = data.load(config, split or config.test_split, data_dir)
    if config.init_from_official:
        return new_model(config, examples), examples
    model = rnvp.load_model(path)
    arguments = model.get_config()
    there = {"event_shape": model.event_shape, "num_bins": model.num_bins}
    there.update({name: arguments.get(name) for name in CONDITIONING})
    here = {name: getattr(examples, name) for name in there} if examples else there
    if here != there:
        raise ValueError(
            f"config must have the data of {path}, {there}; dataset {config.dataset!r} with conditional="
            f"{config.conditional} has {here}. Give the run's --config"
        )
    return model, examples


def first_images(examples, number):
    """Array of the first `number` images of a split, or of all where there are fewer."""
    batches = data.evaluation_batches(data.without_context(examples), 256).as_numpy_iterator()
    images = itertools.islice(itertools.chain.from_iterable(batches), number)
    return np.stack(list(images))


def check(config):
    """Returns the config, its model that of `init_from_official` where there is one.

    Raises:
      ValueError: for fields that no config has, and for values that cannot be meant.
    """
    known = default.get_config()
    for prefix, fields in (
        ("config", lambda config: config),
        ("config.evaluation", lambda config: config.evaluation),
        ("config.checkpoint", lambda config: config.checkpoint),
    ):
        there, here = {*fields(known)}, {*fields(config)}
        for name in sorted(here - there):
            raise ValueError(f"{prefix} has no field {name!r}; there are {sorted(there)}")
        for name in sorted(there - here):
            raise ValueError(
                f"{prefix} must have the field {name!r}: begin with train/configs/default.py's get_config()"
            )
    flow = architecture(config)
    arguments = {*inspect.signature(flow).parameters} - {"event_shape", "num_bins", "seed", *CONDITIONING}
    for name in sorted({*config.model} - arguments):
        raise ValueError(
            f"config.model has no field {name!r}; there are {sorted(arguments)} of architecture {config.architecture}"
        )
    if config.adapt and not hasattr(flow, "adapt"):
        raise ValueError(f"adapt must be False for architecture {config.architecture}, which has no adapt(); got True")
    counts = {
        name: config[name] for name in ("batch_size", "epochs", "samples_every", "steps_per_execution", "max_skipped")
    }
    counts.update({f"evaluation.{name}": value for name, value in config.evaluation.items()})
    counts["checkpoint.keep"] = config.checkpoint.keep
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    amounts = {name: config[name] for name in ("steps_per_epoch", "warmup_steps", "final_learning_rate", "seed")}
    amounts.update({f"checkpoint.{name}": config.checkpoint[name] for name in ("steps", "minutes")})
    for name, value in amounts.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must not be negative; got {value}")
    for name in ("learning_rate", "decay_rate", "clip_norm"):
        if not 0 < config[name] < math.inf:
            raise ValueError(f"{name} must be positive; got {config[name]}")
    if not 0 <= config.shift <= 1:
        raise ValueError(f"shift must be a probability; got {config.shift}")
    for name in ("decay_start", "beta_2", "ema_momentum"):
        if not 0 <= config[name] < 1:
            raise ValueError(f"{name} must be in [0, 1); got {config[name]}")
    if config.decay not in DECAYS:
        raise ValueError(f"decay must be one of {sorted(DECAYS)}; got {config.decay!r}")
    if config.init_from_official and config.architecture != "RealNVP":
        raise ValueError(f"architecture must be RealNVP for init_from_official; got {config.architecture}")
    if config.init_from_official:
        config = config.copy_and_resolve_references()
        options = official_checkpoint.options(config.init_from_official)
        del options["channels"]
        with config.unlocked():
            config.model.update(options)
    return config


def check_steps_per_execution(config, steps_per_epoch):
    """Raises a ValueError where an epoch would end in the middle of an execution."""
    if steps_per_epoch % config.steps_per_execution:
        raise ValueError(
            f"steps_per_execution must divide the steps of an epoch, {steps_per_epoch}; got "
            f"{config.steps_per_execution}"
        )


def check_workdir(config, workdir):
    """Raises a ValueError where the workdir is no folder, or holds the run of another config."""
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"workdir must be a folder; got the file {workdir}")
    if (workdir / "model.keras").exists() and not any(workdir.glob("checkpoints/step_*.keras")):
        raise ValueError(
            f"workdir {workdir} holds the model of a finished run, whose checkpoints are gone: training would begin "
            "anew and replace it. Choose another --workdir"
        )
    path = workdir / "config.json"
    if not path.exists():
        return
    there, here = json.loads(path.read_text()), json.loads(config.to_json_best_effort())
    differences = [
        f"{name} = {there.get(name)} there, {here.get(name)} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    if differences:
        raise ValueError(
            f"workdir {workdir} holds the run of another config ({'; '.join(differences)}). Choose another --workdir"
        )


def best_so_far(workdir, monitor, epoch):
    """The best value of the first `epoch` epochs in metrics.jsonl, infinity for a new run."""
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines()[:epoch] if path.exists() else []
    values = (json.loads(line)[monitor] for line in lines)
    return min((value for value in values if math.isfinite(value)), default=math.inf)
