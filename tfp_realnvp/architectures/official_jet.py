"""Weights of Jet's authors' code: the model's sizes from their arrays, and their values."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfp_realnvp.bijectors.permutation import channel_order, token_order
from tfp_realnvp.internals import sublayers
from tfp_realnvp.networks import FixedOrder, VisionTransformer

if TYPE_CHECKING:
    from tfp_realnvp.architectures.jet import Jet

CHANNELS, TOKENS, NETWORKS = "channel_coupling_masks", "spatial_coupling_masks", "couplings/dnn"
_OFFICIAL_NAMES = {"kernel": "kernel", "bias": "bias", "gamma": "scale", "beta": "bias"}


def sizes(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Reads arguments of `Jet` from the weights.

    Args:
      weights: as for `Jet.from_official_weights`.

    Returns:
      Dictionary of num_couplings, num_blocks, width and kinds.

    Raises:
      ValueError: for weights without the arrays that tell them.

    Example: `sizes(arrays)["num_couplings"]`
    """
    masks, positions = (np.asarray(weights.get(name)) for name in (CHANNELS, f"{NETWORKS}/posemb"))
    if masks.ndim != 3 or positions.ndim != 4:
        raise ValueError(
            f"weights must have {CHANNELS} of 3 axes and {NETWORKS}/posemb of 4; got {', '.join(sorted(weights))}"
        )
    return dict(
        num_couplings=len(masks),
        num_blocks=max(len({name.split("/")[3] for name in weights if "/encoderblock_" in name}), 1),
        width=positions.shape[-1],
        kinds=["channels" if np.any(mask) else "spatial" for mask in masks],
    )


def load_weights(model: "Jet", weights: Mapping[str, Any]) -> None:
    """Loads weights into a `Jet`.

    Args:
      model: `Jet` of these sizes.
      weights: as for `Jet.from_official_weights`.

    Raises:
      ValueError: as `Jet.from_official_weights`; the model does not change.

    Example: `load_weights(model, arrays)`
    """
    check_names_and_shapes(model, weights)
    orders = [layer for layer in model.networks if isinstance(layer, FixedOrder)]
    values: list[tuple[keras.Variable, np.ndarray]] = values_of_networks(model, weights)
    for layer, channels, tokens in zip(orders, weights[CHANNELS], weights[TOKENS], strict=True):
        is_of_channels = np.any(channels)
        order = channel_order if is_of_channels else token_order
        permutation = _permutation(channels if is_of_channels else tokens)
        values.append((layer.permutation, order(model.tokens_shape, permutation)))
    for variable, value in values:
        variable.assign(value)


def values_of_networks(model: "Jet", weights: Mapping[str, Any]) -> list[tuple[keras.Variable, np.ndarray]]:
    """The weights of the model's transformers, each with its value in arrays of the authors' layout.

    Args:
      model: `Jet`.
      weights: arrays, or gradients by them, by the authors' names.

    Example: `values_of_networks(model, gradients)`
    """
    values = []
    for number, network in enumerate(_networks(model)):
        for variable, names, _ in _parts(network):
            parts = [np.reshape(weights[name][number], (*variable.shape[:-1], -1)) for name in names]
            values.append((variable, np.concatenate(parts, axis=-1)))
    return values


def check_names_and_shapes(model: "Jet", weights: Mapping[str, Any]) -> None:
    """Raises a ValueError that lists the weights that are missing, unknown, or of another shape.

    Example: `check_names_and_shapes(model, arrays)`
    """
    rows, columns, channels = model.tokens_shape
    number, num_tokens = model.options.num_couplings, rows * columns
    shapes = {CHANNELS: (number, channels, channels), TOKENS: (number, num_tokens, num_tokens)}
    for _, names, shape in _parts(_networks(model)[0]):
        shapes.update({name: (number, *shape) for name in names})
    wrong = [f"{name} is missing" for name in shapes if name not in weights]
    wrong += [f"{name} is unknown" for name in weights if name not in shapes]
    wrong += [
        f"{name} has the shape {np.shape(weights[name])} where the model has {shape}"
        for name, shape in shapes.items()
        if name in weights and np.shape(weights[name]) != shape
    ]
    if wrong:
        raise ValueError(f"weights must be those of the model: {'; '.join(wrong)}")


def _networks(model: "Jet") -> list[VisionTransformer]:
    """The transformer of each coupling."""
    return [part for layer in model.networks for part in sublayers(layer) if isinstance(part, VisionTransformer)]


def _parts(network: VisionTransformer) -> Iterator[tuple[keras.Variable, list[str], tuple[int, ...]]]:
    """The weights of a transformer, each with the authors' names and shape of its parts, side by side in ours."""
    width, heads = network.width, (network.num_heads, network.width // network.num_heads)
    yield network.positions, [f"{NETWORKS}/posemb"], (1, *network.positions.shape)
    layers = [
        (network.dense_in, "init_proj"),
        (network.dense_out, "final_proj"),
        (network.norm_out, "vit/encoder_norm"),
    ]
    for number, block in enumerate(network.blocks):
        prefix = f"vit/encoderblock_{number}"
        attention = f"{NETWORKS}/{prefix}/MultiHeadDotProductAttention_0"
        inputs = [f"{attention}/{name}" for name in ("query", "key", "value")]
        yield block.attention_in.kernel, [f"{name}/kernel" for name in inputs], (width, *heads)
        yield block.attention_in.bias, [f"{name}/bias" for name in inputs], heads
        yield block.attention_out.kernel, [f"{attention}/out/kernel"], (*heads, width)
        yield block.attention_out.bias, [f"{attention}/out/bias"], (width,)
        layers += [(block.attention_norm, f"{prefix}/LayerNorm_0"), (block.mlp_norm, f"{prefix}/LayerNorm_1")]
        layers += [(block.mlp_in, f"{prefix}/MlpBlock_0/Dense_0"), (block.mlp_out, f"{prefix}/MlpBlock_0/Dense_1")]
    for layer, prefix in layers:
        for variable in layer.weights:
            yield variable, [f"{NETWORKS}/{prefix}/{_OFFICIAL_NAMES[variable.name]}"], tuple(variable.shape)


def _permutation(matrix: np.ndarray) -> np.ndarray:
    """The place of the one in each column of a matrix of zeros and ones."""
    places = np.argmax(matrix, axis=0)
    if not np.array_equal(matrix, np.eye(len(matrix))[:, places]) or len({*places}) < len(places):
        raise ValueError(f"weights must have permutations in {CHANNELS} and {TOKENS}, matrices of zeros and ones")
    return places
