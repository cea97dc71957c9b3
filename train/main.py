"""Trains, evaluates and shows normalizing flows.

  python -m train.main                                          trains on the embedded digits, into runs/digits
  python -m train.main --config=train/configs/cifar10.py --data_dir=DIR
  python -m train.main --mode=evaluate                          the same run's model, on every test example
  python -m train.main --mode=recalibrate                       its batch norms' moments anew, as another model file
  python -m train.main --mode=sample --num_samples=1000
  python -m train.main --mode=figures                           the figures of the paper, from the run's model
  python -m train.main --mode=score --data_dir=FOLDER           the log-likelihood of each picture, into scores.jsonl

Every field of a config is a flag as well: --config.batch_size=32 --config.model.filters=64. A run that was stopped goes
on from its last checkpoint when the same command is given again, and ends as if it had not been. The workdir holds
config.json, checkpoints/, tensorboard/, samples/*.png, figures/*.png, metrics.jsonl (a line an epoch), result.json and
model.keras.
"""

import contextlib
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # the faster convolutions, by default only on CPUs with AVX-512

from absl import app, flags, logging
from ml_collections import config_flags

CONFIGS = pathlib.Path(os.path.relpath(__file__)).parent / "configs"
MODES = ("train", "evaluate", "recalibrate", "sample", "figures", "score")
STRATEGIES = ("auto", "none", "mirrored", "multi_worker", "tpu")


@contextlib.contextmanager
def config_errors():
    """Says in a line which config file, or which field of it, is not there."""
    try:
        yield
    except OSError as error:
        reason = str(error).splitlines()[-1].strip()
        names = ", ".join(sorted(path.name for path in CONFIGS.glob("*.py")))
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


with config_errors():  # the fields among the flags are looked up at once
    _CONFIG = config_flags.DEFINE_config_file(
        "config", str(CONFIGS / "digits.py"), f"Config file, one of {CONFIGS}/*.py or your own like them."
    )
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run. Default: runs/ and the name of the config file.")
_MODE = flags.DEFINE_enum("mode", "train", MODES, "What to do.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder of the TFDS data sets (default: TFDS's own), or of the pictures for dataset=folder and for mode=score.",
)
_MODEL = flags.DEFINE_string("model", "model.keras", "Every mode but train: the model's file in the workdir.")
_INIT_FROM_OFFICIAL = flags.DEFINE_string(
    "init_from_official",
    None,
    "Prefix of a checkpoint of the authors' TensorFlow 1 script: training begins with its weights, and the other modes "
    "take its model instead of the workdir's. Its variables set the options of config.model that they tell.",
)
_NUM_SAMPLES = flags.DEFINE_integer(
    "num_samples", None, "mode=sample: also write this many samples to samples/samples.npy.", lower_bound=1
)
_TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "mode=sample: spread of the latents.", lower_bound=0.0)
_STRATEGY = flags.DEFINE_enum(
    "strategy",
    "auto",
    STRATEGIES,
    "mode=train: where it computes. auto: multi_worker where there is TF_CONFIG, tpu or mirrored where a TPU or "
    "several GPUs are found, otherwise none: one device.",
)
flags.register_validator(
    "workdir", lambda path: "://" not in (path or ""), "--workdir must be a folder of this machine or mounted on it"
)
_SEED = flags.DEFINE_integer("seed", 0, "mode=sample, mode=figures: seed of the samples.")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; every setting is a flag, such as --mode=evaluate")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # without TFDS's remarks
    # TensorFlow takes seconds to import: not before the flags are known to be right.
    from train import draw, evaluate, score, strategies, train

    config_file = config_flags.get_config_filename(flags.FLAGS["config"])
    workdir = pathlib.Path(_WORKDIR.value or pathlib.Path("runs") / pathlib.Path(config_file).stem).expanduser()
    config = _CONFIG.value
    if _INIT_FROM_OFFICIAL.value:
        config.init_from_official = _INIT_FROM_OFFICIAL.value
    run = (config, workdir, _DATA_DIR.value)
    modes = {
        "train": lambda: train.train_and_evaluate(*run, getattr(strategies, _STRATEGY.value)()),
        "evaluate": lambda: evaluate.evaluate(*run, _MODEL.value),
        "recalibrate": lambda: evaluate.recalibrate(*run, _MODEL.value),
        "sample": lambda: draw.sample(*run, _MODEL.value, _NUM_SAMPLES.value, _TEMPERATURE.value, _SEED.value),
        "figures": lambda: draw.draw_figures(*run, _MODEL.value, _SEED.value),
        "score": lambda: score.score(*run, _MODEL.value),
    }
    try:
        modes[_MODE.value]()
    except (ValueError, OSError) as error:  # the latter of a full disk, for one
        raise SystemExit(f"error: {error}") from error


def parse_flags(argv):
    """absl's parser, and a look into the config: only then is a file that could not be read reported."""
    with config_errors():
        arguments = app.parse_flags_with_usage(argv)
        list(_CONFIG.value)
    return arguments


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
