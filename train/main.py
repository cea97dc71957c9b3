"""Trains, evaluates and shows normalizing flows.

  python -m train.main                                          trains on the embedded digits, into runs/digits
  python -m train.main --config=train/configs/cifar10.py --data_dir=DIR
  python -m train.main --mode=evaluate                          the same run's model, on every test example
  python -m train.main --mode=recalibrate                       new moments for its batch norms, as another model file
  python -m train.main --mode=sample --num_samples=1000
  python -m train.main --mode=figures                           the figures of the paper, from the run's model
  python -m train.main --mode=report                            the run on one page, report.html, as after a training
  python -m train.main --mode=compare runs/a runs/b             runs side by side: a table, and compare.html
  python -m train.main --mode=score --data_dir=FOLDER           the log-likelihood of each picture, into scores.jsonl
  python -m train.main --mode=anomalies --anomalies=noise,flips every score of anomalies, and a calibrated detector
  python -m train.main --mode=complete --mask=box               the first test images without their middle, completed
  python -m train.main --mode=compress --data_dir=FOLDER        all pictures in one archive, pictures.rnvp
  python -m train.main --mode=decompress                        its pictures, into decompressed/
  python -m train.main --mode=probe                             classes by logistic regression on the flow's features
  python -m train.main --mode=doctor                            the state of the machine, and a tiny flow on it

Every field of a config is also a flag: --config.batch_size=32 --config.model.filters=64. Repeat the command of a
stopped run: it resumes from its last checkpoint, and ends with the result of a run without a stop. The workdir holds
config.json, checkpoints/, tensorboard/, samples/*.png, figures/*.png, metrics.jsonl (one line per epoch), result.json,
model.keras and report.html.
"""

import contextlib
import functools
import os
import pathlib
import shlex
import signal
import sys
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # the faster convolutions, by default only on CPUs with AVX-512

from absl import app, flags, logging
from ml_collections import config_flags

from . import startup

# The wheel calls this package tfp_realnvp_train, but config files import `train.configs`: they may use either name.
sys.modules.setdefault("train", sys.modules[__package__])
COMMAND = "python -m train.main" if __package__ == "train" else "tfp-realnvp"
__doc__ = __doc__.replace("python -m train.main", COMMAND)  # for --help

CONFIGS = pathlib.Path(__file__).parent / "configs"
if CONFIGS.is_relative_to(pathlib.Path.cwd()):
    CONFIGS = CONFIGS.relative_to(pathlib.Path.cwd())  # for shorter messages
MODES = (
    "train",
    "evaluate",
    "recalibrate",
    "sample",
    "figures",
    "report",
    "compare",
    "score",
    "anomalies",
    "complete",
    "compress",
    "decompress",
    "probe",
    "doctor",
)
MASKS = ("bottom", "box", "random")
STRATEGIES = ("auto", "none", "mirrored", "multi_worker", "tpu")


@contextlib.contextmanager
def config_errors() -> Iterator[None]:
    """Names a missing config file, or a missing field of it, in one line."""
    try:
        yield
    except OSError as error:
        reason = str(error).splitlines()[-1].strip()
        names = ", ".join(sorted(path.name for path in CONFIGS.glob("[a-z]*.py")))
        raise SystemExit(
            f"error: --config: {reason} (it must be a file of your own, or one of {CONFIGS}: {names})"
        ) from None
    except SyntaxError as error:
        raise SystemExit(f"error: --config: {error}") from None
    except AttributeError as error:
        if error.name == "get_config":
            raise SystemExit("error: --config: the file must define get_config()") from None
        if not isinstance(error.args[0], KeyError):
            raise
        raise SystemExit(f"error: --config has no field {error.args[0].args[0]}") from None


class ConfigParser(flags.ArgumentParser):
    """A parser of --config that also finds the program's configs by their names, with or without .py, from any folder.

    Args:
      parser: the flag's parser of paths.
    """

    def __init__(self, parser: flags.ArgumentParser) -> None:
        self._parser = parser

    def parse(self, argument: str) -> Any:
        """The config of the file `argument`; if there is no such file, of the program's config of that name."""
        name = pathlib.Path(argument).name
        known = CONFIGS / (name if name.endswith(".py") else f"{name}.py")
        is_known = known.is_file() and not pathlib.Path(argument).is_file()  # A folder may have the config's name.
        return self._parser.parse(str(known) if is_known else argument)

    def flag_type(self) -> str:
        """The type for --help."""
        return self._parser.flag_type()


with config_errors():  # ml_collections looks up the fields among the flags at once.
    _CONFIG = config_flags.DEFINE_config_file(
        "config", str(CONFIGS / "digits.py"), f"Config file, one of {CONFIGS}/*.py or your own like them."
    )
flags.FLAGS["config"].parser = ConfigParser(flags.FLAGS["config"].parser)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Folder of the run. Default: runs/ and the name of the config file. mode=compare: the folder of compare.html. "
    "Default: the current one.",
)
_MODE = flags.DEFINE_enum("mode", "train", MODES, "What to do.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder of the TFDS data sets (default: TFDS's own), or of the pictures for dataset=folder, mode=score and "
    "mode=compress.",
)
_MODEL = flags.DEFINE_string("model", "model.keras", "The other modes than train: the model's file in the workdir.")
_INIT_FROM_OFFICIAL = flags.DEFINE_string(
    "init_from_official",
    None,
    "Prefix of a checkpoint of the authors' TensorFlow 1 script: training begins with its weights, and the other modes "
    "take its model instead of the workdir's. Its variables determine options of config.model.",
)
_NUM_SAMPLES = flags.DEFINE_integer(
    "num_samples",
    None,
    "mode=sample: also write this many samples to samples/samples.npy. mode=complete: the draws of each chain.",
    lower_bound=1,
)
_NUM_IMAGES = flags.DEFINE_integer(
    "num_images", None, "mode=complete: the number of images. Default: those of the picture.", lower_bound=1
)
_MASK = flags.DEFINE_enum(
    "mask",
    "bottom",
    MASKS,
    "mode=complete: the hidden part of the images: the bottom half, a box in the middle, or random pixels.",
)
_ANOMALIES = flags.DEFINE_list(
    "anomalies",
    "noise,constants,flips",
    "mode=anomalies: data sets to tell from config.dataset, into anomalies.json and figures/anomalies.png. noise, "
    "constants and flips are made, of the test split. Gray images are repeated to three channels where the model has "
    "three, and smaller images get a border of zeros; larger ones are refused.",
)
_ANOMALIES_SPLIT = flags.DEFINE_string(
    "anomalies_split", None, "mode=anomalies: the split of these data sets. Default: config.test_split."
)
_TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "mode=sample: spread of the latents.", lower_bound=0.0)
_STRATEGY = flags.DEFINE_enum(
    "strategy",
    "auto",
    STRATEGIES,
    "mode=train: the devices. auto: multi_worker if TF_CONFIG is set, tpu or mirrored if a TPU or several GPUs are "
    "found, otherwise none: one device.",
)
_REPORT = flags.DEFINE_boolean("report", True, "mode=train: whether to write report.html at the end.")
flags.register_validator(
    "workdir", lambda path: "://" not in (path or ""), "--workdir must be a folder of this machine or mounted on it"
)
_SEED = flags.DEFINE_integer("seed", 0, "mode=sample, figures, report, compare and complete: seed of the samples.")


def main(argv: list[str]) -> None:
    """Runs the mode of the flags."""
    if len(argv) > 1 and _MODE.value != "compare":
        raise app.UsageError(f"unexpected arguments {argv[1:]}; every setting is a flag, such as --mode=evaluate")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # without TFDS's remarks
    try:
        run_mode(argv[1:])
    except (ValueError, OSError) as error:  # an OSError is a full disk, for example
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:  # anywhere but in training, which saves its next step first
        print("interrupted", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None


def run_mode(arguments: list[str]) -> None:
    """Does what the flags ask for.

    Args:
      arguments: the arguments that are no flags: the workdirs of mode=compare.
    """
    if _MODE.value == "doctor":
        from . import doctor

        raise SystemExit(0 if doctor.examine() else 1)
    # TensorFlow takes seconds to import, so the flags are checked before.
    with startup.without_remarks():
        import tensorflow as tf

        tf.config.list_physical_devices()  # The drivers are looked for at the first question.

        from tfp_realnvp.common import reason_of

        from . import anomalies, compare, complete, compress, draw, evaluate, probe, report, score, train
        from .runs import strategies

    config_file = config_flags.get_config_filename(flags.FLAGS["config"])
    workdir = pathlib.Path(_WORKDIR.value or pathlib.Path("runs") / pathlib.Path(config_file).stem).expanduser()
    config = _CONFIG.value
    if _INIT_FROM_OFFICIAL.value:
        config.init_from_official = _INIT_FROM_OFFICIAL.value
    run = (config, workdir, _DATA_DIR.value)
    reported = functools.partial(report.train_and_report, command=training_command())
    train_run = reported if _REPORT.value else train.train_and_evaluate
    modes = {
        "train": lambda: train_run(*run, getattr(strategies, _STRATEGY.value)()),
        "evaluate": lambda: evaluate.evaluate_model(*run, _MODEL.value),
        "recalibrate": lambda: evaluate.recalibrate_model(*run, _MODEL.value),
        "sample": lambda: draw.draw_samples(*run, _MODEL.value, _NUM_SAMPLES.value, _TEMPERATURE.value, _SEED.value),
        "figures": lambda: draw.draw_figures(*run, _MODEL.value, _SEED.value),
        "report": lambda: report.write_report(*run, _MODEL.value, _SEED.value, training_command()),
        "compare": lambda: compare.compare_runs(
            [pathlib.Path(argument).expanduser() for argument in arguments],
            pathlib.Path(_WORKDIR.value or "").expanduser(),
            _MODEL.value,
            _SEED.value,
        ),
        "score": lambda: score.score_folder(*run, _MODEL.value),
        "complete": lambda: complete.complete_images(
            *run, _MODEL.value, _MASK.value, _NUM_IMAGES.value, _NUM_SAMPLES.value, _SEED.value
        ),
        "compress": lambda: compress.compress_folder(*run, _MODEL.value),
        "decompress": lambda: compress.decompress_folder(*run, _MODEL.value),
        "probe": lambda: probe.probe_features(*run, _MODEL.value),
        "anomalies": lambda: anomalies.compare_anomalies(*run, _MODEL.value, _ANOMALIES.value, _ANOMALIES_SPLIT.value),
    }
    if _MODE.value == "train" and config.threads_per_operation > 0:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(config.threads_per_operation)
        except RuntimeError:
            raise ValueError(
                "threads_per_operation must be 0 in a process that has used TensorFlow; got "
                f"{config.threads_per_operation}"
            ) from None
    try:
        modes[_MODE.value]()
    except tf.errors.OpError as error:
        reason = reason_of(error)
        if str(workdir) not in reason:
            raise
        raise OSError(reason) from error  # of TensorBoard's events, on a full disk


def training_command() -> str:
    """The command that trains the config of the flags in their workdir."""
    config = flags.FLAGS["config"]
    arguments = [f"--config={config_flags.get_config_filename(config)}"]
    fields = config_flags.get_override_values(config)
    arguments += [f"--config.{name}={value}" for name, value in fields.items()]
    chosen = (flags.FLAGS[flag.name] for flag in (_WORKDIR, _DATA_DIR, _INIT_FROM_OFFICIAL, _STRATEGY))
    arguments += [flag.serialize() for flag in chosen if flag.present]
    return shlex.join([*COMMAND.split(), *arguments])


def parse_flags(argv: list[str]) -> list[str]:
    """absl's parser; it also reads the config, since ml_collections reports an unreadable file only then."""
    with config_errors():
        arguments = app.parse_flags_with_usage(argv)
        list(_CONFIG.value)
    return arguments


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
