"""Checkpoints of the authors' TensorFlow 1 script: the model's arguments from their variables, and their values."""

import dataclasses
import glob
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from tfp_realnvp.networks import Moments, TanhScale
from tfp_realnvp.networks.moments import moments_of

if TYPE_CHECKING:
    from tfp_realnvp.architectures.real_nvp import RealNVP

# The slots of the script's optimizers and its step counters: no part of the flow.
_UNUSED = re.compile(r"(.*/)?(Adam(_1)?|RMSProp(_1)?|Momentum|beta[12]_power|global_step|step)")
_OFFICIAL_NAMES = {
    "v": "weights",
    "magnitude": "magnitude",
    "bias": "biases",
    "beta": "beta",
    "mean": "mean",
    "variance": "var",
}


def options(prefix: Any) -> dict[str, Any]:
    """Reads the arguments of `RealNVP` from the variables of a checkpoint.

    Args:
      prefix: path of the checkpoint, without .index or .data-…

    Returns:
      Dictionary of the arguments, and of `channels`, the images' number of channels.

    Raises:
      ValueError: for a missing checkpoint, or a checkpoint of another program.

    Example: `options("logs/model.ckpt-100000")["num_scales"]`
    """
    _, shapes = _open(prefix)
    parts: set[str] = set()
    kernels: dict[int, list[int]] = {}  # The shape of a checkerboard coupling's first convolution, by scale.
    for name, shape in shapes.items():
        match = re.fullmatch(r"model/scale_(\d+)/coupling_(\d+)/(.+)", name)
        if match:
            parts.add(match[3])
            if match[3] == "resnet/h_in/weights" and match[2] in "0123":
                kernels[int(match[1])] = shape
    if 0 not in kernels:
        raise ValueError(
            f"prefix must be a checkpoint of the authors' script, with model/scale_0/coupling_0/resnet/h_in/weights; "
            f"{prefix} holds {_listed(shapes)}"
        )
    channels, width = kernels[0][2] // 2, kernels[0][3]  # The input is x, −x and the mask.
    recursion_type = 2
    if 1 in kernels:
        kept, next_width = kernels[1][2] // 2 / channels, kernels[1][3]
        recursion_type = {4.0: 1, 2.0: 2}.get(kept) or (3 if next_width == 2 * width else 4)
    return dict(
        channels=channels,
        num_scales=max(kernels) + 1,
        filters=width,
        num_blocks=len({part.split("/")[1] for part in parts if part.startswith("resnet/block_")}),
        recursion_type=recursion_type,
        use_affine=any(re.fullmatch(r"model/scale_\d+/coupling_[0145]/(rescaling_)?scale", name) for name in shapes),
        use_batch_norm="bn_out/mean" in parts,
        skip="resnet/skip_in/weights" in parts,
        bottleneck="resnet/block_0/h_1/weights" in parts,
    )


def load_weights(model: "RealNVP", prefix: Any) -> None:
    """Loads the weights of a checkpoint into a `RealNVP`.

    Args:
      model: `RealNVP`.
      prefix: path of the checkpoint, without .index or .data-…

    Raises:
      ValueError: for a missing or damaged checkpoint, or for variables that are missing, unknown or of another shape.
        The message lists them, and the model does not change.

    Example: `load_weights(rnvp.RealNVP((32, 32, 3), filters=64, num_blocks=8), "logs/model.ckpt-100000")`
    """
    reader, shapes = _open(prefix)
    weights = _weights(model)
    problems = {
        "missing": [name for name in weights if name not in shapes],
        "unknown": [name for name in shapes if name not in weights],
        "of another shape": [
            f"{name} {tuple(shapes[name])} where the model has {weight.shape}"
            for name, weight in weights.items()
            if name in shapes and tuple(shapes[name]) != weight.shape
        ],
    }
    if any(problems.values()):
        raise ValueError(
            f"prefix must be a checkpoint of the model; {prefix} does not fit: "
            + "; ".join(f"{len(names)} {problem}: {_listed(names)}" for problem, names in problems.items() if names)
        )
    try:
        values = {name: reader.get_tensor(name) for name in weights}
    except (tf.errors.OpError, IndexError) as error:  # The names and shapes are in another file than the values.
        files = sorted(glob.glob(glob.escape(str(prefix)) + ".data-*"))
        raise ValueError(
            f"prefix must be a whole checkpoint; its data file {', '.join(files) or 'of values'} is missing, cut or "
            f"damaged: {error}"
        ) from error
    for name, weight in weights.items():
        weight.assign(values[name])
    for moments in moments_of(model):
        if moments.running:
            moments.filled.assign(1.0)


def _open(prefix: Any) -> tuple[Any, dict[str, list[int]]]:
    """A reader of the checkpoint, and the shape of each variable of the flow."""
    try:
        reader = tf.train.load_checkpoint(str(prefix))
    except (tf.errors.OpError, ValueError) as error:
        raise ValueError(
            f"prefix must be the path of a TensorFlow checkpoint, without .index; got {str(prefix)!r}: {error}"
        ) from error
    shapes = reader.get_variable_to_shape_map()
    return reader, {name: shapes[name] for name in sorted(shapes) if not _UNUSED.fullmatch(name)}


@dataclasses.dataclass(frozen=True)
class _Weight:
    """One variable of the authors' model: a whole variable of ours, or an entry of a stacked one.

    Attributes:
      variable: the Keras variable.
      index: tuple: () for the whole variable, otherwise the place in the stack.
    """

    variable: keras.Variable
    index: tuple = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.variable.shape)[len(self.index) :]

    def numpy(self) -> np.ndarray:
        return np.array(self.variable)[self.index]

    def assign(self, value: np.ndarray) -> None:
        values = np.array(self.variable)
        values[self.index] = value
        self.variable.assign(values)


def _weights(model: "RealNVP") -> dict[str, _Weight]:
    """The model's weights by the authors' names."""
    weights = {}
    by_scale = model.networks_by_scale()
    for scale, networks in enumerate(by_scale):
        # The couplings' numbers in the authors' code. Only the last scale has a fourth checkerboard coupling.
        numbers = (0, 1, 2, 3) if scale == len(by_scale) - 1 else (0, 1, 2, 4, 5, 6)
        conditioners = [network for network in networks if not isinstance(network, Moments)]
        moments: list[Any] = [network for network in networks if isinstance(network, Moments)]
        moments = moments or [None] * len(conditioners)
        for number, conditioner, norm in zip(numbers, conditioners, moments, strict=True):
            for name, weight in _weights_of_coupling(conditioner, norm).items():
                weights[f"model/scale_{scale}/coupling_{number}/{name}"] = weight
    return weights


def _weights_of_coupling(conditioner: keras.layers.Layer, moments: Moments | None) -> dict[str, _Weight]:
    """The weights of a coupling by the authors' names within the coupling."""
    weights = {}
    for part, (layer, index) in {**_parts(conditioner), **({"bn_out": (moments, ())} if moments else {})}.items():
        for variable in layer.weights:
            if variable.name in _OFFICIAL_NAMES:
                weights[f"{part}/{_OFFICIAL_NAMES[variable.name]}"] = _Weight(variable, index)
    if isinstance(conditioner, TanhScale):
        is_checkerboard = conditioner.network.checkerboard is not None
        weights["rescaling_scale" if is_checkerboard else "scale"] = _Weight(conditioner.a)
        if conditioner.use_offset:
            weights["scale_shift"] = _Weight(conditioner.b)
    return weights


def _parts(conditioner: keras.layers.Layer) -> dict[str, tuple[keras.layers.Layer, tuple[int, ...]]]:
    """The layers of a conditioner by the authors' names, each with its index in a stack, () without a stack."""
    resnet = conditioner.network if isinstance(conditioner, TanhScale) else conditioner
    parts: dict[str, tuple[Any, tuple[int, ...]]]
    parts = {"bn_in": (resnet.norm_in, ()), "resnet/h_in": (resnet.conv_in, ())}
    for i in range(resnet.num_blocks + 1 if resnet.skip else 0):
        parts[f"resnet/skip_{i - 1}" if i else "resnet/skip_in"] = resnet.skips, (i,)
    for block in range(resnet.num_blocks):
        for i, norm in enumerate(resnet.blocks.norms):
            parts[f"resnet/block_{block}/bn_{i - 1}" if i else f"resnet/block_{block}/bn_in"] = norm, (block,)
        *hidden, last = resnet.blocks.convs
        for i, conv in enumerate(hidden):
            parts[f"resnet/block_{block}/h_{i}"] = conv, (block,)
        parts[f"resnet/block_{block}/out"] = last, (block,)
    return {**parts, "resnet/bn_pre_out": (resnet.norm_out, ()), "resnet/out": (resnet.conv_out, ())}


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "no variables"
