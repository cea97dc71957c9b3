"""The model of a config: a new flow, or the trained one of a workdir."""

import importlib
import inspect
import os
import pathlib

import ml_collections

import tfp_realnvp as rnvp
from tfp_realnvp import architectures
from tfp_realnvp.architectures import official_checkpoint

from . import data

CONDITIONING = ("num_classes", "context_size")  # the arguments of a conditional flow that come with its data


def new_flow(config: ml_collections.ConfigDict, examples: data.Examples) -> rnvp.FlowModel:
    """The config's flow, with the weights of the checkpoint `config.init_from_official`, if there is one.

    Raises:
      ValueError: if the architecture cannot be conditioned on the contexts of the data.
    """
    flow = flow_class(config)
    conditioning = {name: getattr(examples, name) for name in CONDITIONING if getattr(examples, name) is not None}
    for name in {*conditioning} - {*inspect.signature(flow).parameters}:
        raise ValueError(
            f"architecture must be one that takes {name} for conditional=True with dataset={config.dataset}; got "
            f"{config.architecture}"
        )
    options = {**conditioning, **config.model.to_dict()}
    model = flow(examples.event_shape, num_bins=examples.num_bins, seed=config.seed, **options)
    if config.init_from_official:
        official_checkpoint.load_weights(model, config.init_from_official)
        print(f"weights of {config.init_from_official}, with {config.model.to_dict()}")
    return model


def flow_class(config: ml_collections.ConfigDict) -> type[rnvp.FlowModel]:
    """The class of the config's flow: one of tfp_realnvp's, or "module.Class" of any module that can be imported.

    Raises:
      ValueError: if there is no such class.
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


def load_model(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    model_file: str,
    split: str | None,
    data_dir: str | os.PathLike | None,
) -> tuple[rnvp.FlowModel, data.Examples | None]:
    """The workdir's trained model, or the config's official checkpoint, and the examples of a split.

    Args:
      config: the run's config.
      workdir: the run's folder.
      model_file: name of the model's file in the workdir.
      split: the split to load; None for no examples.
      data_dir: see `data.load`.

    Raises:
      ValueError: if the workdir holds no model, or if the data are missing or do not fit the model.
    """
    path, examples = workdir / model_file, None
    if not config.init_from_official and not path.exists():
        raise ValueError(f"workdir must hold a trained model; there is no {path}. Train one with --mode=train")
    if config.init_from_official or split is not None:
        examples = data.load(config, split or config.test_split, data_dir)
    if config.init_from_official:
        return new_flow(config, examples), examples
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
