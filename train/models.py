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
    families = sorted({*architectures.__all__} - {"Architecture"})
    if config.architecture in families:
        return getattr(architectures, config.architecture)
    module, _, name = config.architecture.rpartition(".")
    try:
        flow = getattr(importlib.import_module(module), name)
        if not (isinstance(flow, type) and issubclass(flow, rnvp.FlowModel)):
            raise ValueError(f"{flow} is no FlowModel")
        return flow
    except (ImportError, ValueError, AttributeError) as error:
        raise ValueError(
            f"architecture must be one of {families}, or the module.Class of your own; got "
            f"{config.architecture!r} ({error})"
        ) from error


def load_model(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, model_file: str, data_dir: str | os.PathLike | None
) -> rnvp.FlowModel:
    """The workdir's trained model without its optimizer, or the config's official checkpoint.

    Args:
      config: the run's config.
      workdir: the run's folder.
      model_file: name of the model's file in the workdir.
      data_dir: see `data.load`; the shape of an official checkpoint's images comes from the data.

    Raises:
      ValueError: if the workdir holds no model.
    """
    if config.init_from_official:
        return new_flow(config, data.load(config, config.test_split, data_dir))
    return load_trained(workdir / model_file)


def load_model_and_examples(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    model_file: str,
    split: str,
    data_dir: str | os.PathLike | None,
    compile: bool = False,
) -> tuple[rnvp.FlowModel, data.Examples]:
    """The model of `load_model`, and the examples of a split, which fit it.

    Args:
      config, workdir, model_file, data_dir: as for `load_model`.
      split: the split of the examples.
      compile: whether a trained model keeps its optimizer, which knows the number of steps.

    Raises:
      ValueError: if the workdir holds no model, or if the data are missing or do not fit the model.
    """
    if config.init_from_official:
        examples = data.load(config, split, data_dir)
        return new_flow(config, examples), examples
    path = workdir / model_file
    model = load_trained(path, compile)
    examples = data.load(config, split, data_dir)
    arguments = model.get_config()
    there = {"event_shape": model.event_shape, "num_bins": model.num_bins}
    there.update({name: arguments.get(name) for name in CONDITIONING})
    here = {name: getattr(examples, name) for name in there}
    if here != there:
        raise ValueError(
            f"config must have the data of {path}, {there}; dataset {config.dataset!r} with conditional="
            f"{config.conditional} has {here}. Give the run's --config"
        )
    return model, examples


def num_levels(model: rnvp.FlowModel) -> int:
    """The model's number of pixel levels.

    Raises:
      ValueError: for a model of continuous data.
    """
    if model.num_bins is None:
        raise ValueError("model must be one of pixel levels for pictures; got num_bins=None")
    return model.num_bins


def load_trained(path: pathlib.Path, compile: bool = False) -> rnvp.FlowModel:
    """The trained model of a file.

    Args:
      path: the file.
      compile: whether the model keeps its optimizer.

    Raises:
      ValueError: if there is none.

    Example: `load_trained(workdir / "model.keras")`
    """
    if not path.exists():
        raise ValueError(f"workdir must hold a trained model; there is no {path}. Train one with --mode=train")
    return rnvp.load_model(path, compile)
