"""The fingerprint of a flow, by which a file that belongs to one flow refuses all others."""

import hashlib
import json

import numpy as np

from tfp_realnvp.architectures import Architecture
from tfp_realnvp.model import FlowModel


def fingerprint(model: FlowModel, with_noise: bool = True) -> str:
    """The SHA-256 of all that decides the log-likelihoods of a flow: its class, its arguments and its weights.

    The name, the seed, the dtype policy and the savings of memory do not count.

    Args:
      model: `FlowModel`.
      with_noise: whether the dequantization counts.

    Example: `fingerprint(model) == fingerprint(rnvp.load_model("flow.keras"))`
    """
    arguments = model.get_config() if isinstance(model, Architecture) else {}
    for name in ("name", "seed", "dtype", "rematerialize", "frozen"):
        arguments.pop(name, None)
    layers = list(model.networks)
    if not with_noise:
        arguments.pop("dequantization", None)
    elif model.dequantization is not None:
        layers.append(model.dequantization)
    digest = hashlib.sha256(json.dumps([type(model).__name__, arguments], sort_keys=True).encode())
    for weight in (weight for layer in layers for weight in layer.get_weights()):
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
