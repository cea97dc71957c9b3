"""The model of a config: a new one, with the authors' weights if it names them, or the one that a workdir holds."""

import importlib
import inspect

import tfp_realnvp as rnvp
from tfp_realnvp import architectures
from tfp_realnvp.architectures import official_checkpoint
from train import data

CONDITIONING = ("num_classes", "context_size")  # what a conditional flow is told of its data


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
