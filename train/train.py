"""Training, evaluation and sampling of a config in a workdir."""

import inspect
import json
import os
import sys

import keras
import numpy as np

import tfp_realnvp as rnvp
from train import callbacks, data, pictures
from train.configs import default

VERBOSE = 1 if sys.stdout.isatty() else 2  # a progress bar, or a line an epoch


def train_and_evaluate(config, workdir, data_dir=None):
    """Trains a config, resuming from the workdir's last checkpoint if there is one, and evaluates the best epoch.

    Args:
      config: `ml_collections.ConfigDict` with the fields of `train/configs/default.py`.
      workdir: `pathlib.Path`, the folder of the run; made if it is not there.
      data_dir: see `data.load`.

    Returns:
      The dictionary that it writes to `result.json`.

    Raises:
      ValueError: for unknown fields or values of the config, data that are not there, or a workdir that holds the run
        of another config (nothing is written into it), or a loss that is not finite (the last good checkpoint is kept).
    """
    check(config)
    check_workdir(config, workdir)
    examples = data.load(config, config.train_split, data_dir)
    validation = data.load(config, config.validation_split, data_dir) if config.validation_split else None
    test = data.load(config, config.test_split, data_dir)

    keras.utils.set_random_seed(config.seed)
    steps_per_epoch = config.steps_per_epoch or data.steps_per_pass(examples, config.batch_size)
    last, best = workdir / "checkpoints/last.keras", workdir / "checkpoints/best.keras"
    if last.exists():
        model = keras.saving.load_model(last)
        print(f"resuming from {last} at step {int(model.optimizer.iterations)}")
    else:
        model = rnvp.RealNVP(examples.event_shape, num_bins=examples.num_bins, seed=config.seed, **config.model)
        model.compile(optimizer(config, steps_per_epoch))
    step = int(model.optimizer.iterations)
    epoch = step // steps_per_epoch
    batches = data.training_batches(examples, config.batch_size, config.seed, step, config.flip, config.shift)

    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "config.json").write_text(config.to_json_best_effort(indent=2) + "\n")
    last.parent.mkdir(exist_ok=True)
    if epoch < config.epochs:
        monitor = "val_bits_per_dim" if validation else "bits_per_dim"
        model.fit(
            batches,
            steps_per_epoch=steps_per_epoch,
            initial_epoch=epoch,
            epochs=config.epochs,
            shuffle=False,
            validation_data=validation and data.evaluation_batches(validation, config.evaluation_batch_size),
            verbose=VERBOSE,
            callbacks=[
                callbacks.Throughput(config.batch_size),
                callbacks.MetricsFile(workdir / "metrics.jsonl", epoch),
                callbacks.StopAtNaN(),
                keras.callbacks.TensorBoard(workdir / "tensorboard", write_graph=False),
                callbacks.SamplePictures(
                    workdir / "samples", workdir / "tensorboard/samples", config.samples_every, config.epochs
                ),
                keras.callbacks.ModelCheckpoint(
                    best,
                    monitor,
                    mode="min",
                    save_best_only=True,
                    initial_value_threshold=best_so_far(workdir, monitor, epoch),
                ),
                keras.callbacks.ModelCheckpoint(last),
            ],
        )
    final = keras.saving.load_model(best if validation and best.exists() else last)
    final.save(workdir / "model.keras")
    result = measure(final, test, config)
    write_json(workdir / "result.json", result)
    pixels = pictures.of_samples(final)
    if pixels is not None:
        pictures.save(pixels, workdir / "samples/final.png")
    print(
        f"{config.test_split}: {result['bits_per_dim']:.4f} bits/dim over {result['num_examples']} examples; "
        f"model and pictures of samples in {workdir}"
    )
    return result


def evaluate(config, workdir, data_dir=None):
    """Evaluates the workdir's model on every example of `config.test_split` and writes `result.json`.

    Returns:
      The dictionary that it writes: bits_per_dim, loss (nats), split, num_examples, step.

    Raises:
      ValueError: where the workdir holds no model, or the data are not there.
    """
    check(config)
    model = load(workdir)
    result = measure(model, data.load(config, config.test_split, data_dir), config)
    write_json(workdir / "result.json", result)
    print(json.dumps(result, indent=2))
    return result


def sample(workdir, num_samples=None, temperature=1.0, seed=0):
    """Draws samples from the workdir's model: a picture of up to 64, and with `num_samples` an .npy file of them all.

    Raises:
      ValueError: where the workdir holds no model.
    """
    model = load(workdir)
    folder = workdir / "samples"
    pixels = pictures.of_samples(model, min(num_samples or 64, 64), temperature, seed)
    if pixels is not None:
        pictures.save(pixels, folder / "samples.png")
        print(f"wrote {folder / 'samples.png'}")
    if num_samples:
        folder.mkdir(exist_ok=True)
        np.save(folder / "samples.npy", model.sample(num_samples, temperature, seed))
        print(f"wrote {folder / 'samples.npy'}")


def optimizer(config, steps_per_epoch):
    """Adam with linear warm-up and a cosine from the learning rate to the final one."""
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if config.warmup_steps else config.learning_rate,
        decay_steps=max(config.epochs * steps_per_epoch - config.warmup_steps, 1),
        alpha=config.final_learning_rate / config.learning_rate,
        warmup_target=config.learning_rate if config.warmup_steps else None,
        warmup_steps=config.warmup_steps,
    )
    return rnvp.optimizers.Adam(schedule, epsilon=1e-8, global_clipnorm=config.clip_norm)


def measure(model, examples, config):
    """Bits/dim of every example, the remainder of the last batch included, as the dictionary of `result.json`."""
    batches = data.evaluation_batches(examples, config.evaluation_batch_size)
    logs = model.evaluate(batches, return_dict=True, verbose=0)
    return {
        "bits_per_dim": float(logs["bits_per_dim"]),
        "loss": float(logs["loss"]),
        "split": config.test_split,
        "num_examples": examples.size,
        "step": int(model.optimizer.iterations),
    }


def load(workdir):
    """The workdir's trained model."""
    path = workdir / "model.keras"
    if not path.exists():
        raise ValueError(f"workdir must hold a trained model; there is no {path}. Train one with --mode=train")
    return keras.saving.load_model(path)


def check(config):
    """Raises a ValueError for fields that no config has, and for values that cannot be meant."""
    known = default.get_config()
    for name in sorted({*config} - {*known}):
        raise ValueError(f"config has no field {name!r}; there are {sorted(known)}")
    for name in sorted({*known} - {*config}):
        raise ValueError(f"config must have the field {name!r}: begin with train/configs/default.py's get_config()")
    arguments = {*inspect.signature(rnvp.RealNVP).parameters} - {"event_shape", "num_bins", "seed"}
    for name in sorted({*config.model} - arguments):
        raise ValueError(f"config.model has no field {name!r}; there are {sorted(arguments)}")
    for name in ("batch_size", "epochs", "evaluation_batch_size", "samples_every"):
        if config[name] < 1:
            raise ValueError(f"{name} must be at least 1; got {config[name]}")
    for name in ("steps_per_epoch", "warmup_steps", "final_learning_rate"):
        if config[name] < 0:
            raise ValueError(f"{name} must not be negative; got {config[name]}")
    if config.learning_rate <= 0:
        raise ValueError(f"learning_rate must be positive; got {config.learning_rate}")


def check_workdir(config, workdir):
    """Raises a ValueError where the workdir holds the run of another config."""
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
    """The best value of the first `epoch` epochs in metrics.jsonl, None for a new run."""
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines()[:epoch] if path.exists() else []
    return min((json.loads(line)[monitor] for line in lines), default=None)


def write_json(path, value):
    """Replaces the file as a whole."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(draft, path)
