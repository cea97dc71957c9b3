"""Trained models that come with the package, each with a card."""

import hashlib
import json
import pathlib
from typing import Any

from tfp_realnvp.model import FlowModel
from tfp_realnvp.saving import load_model

WEIGHTS = pathlib.Path(__file__).with_name("weights")


def pretrained(name: str) -> FlowModel:
    """A trained flow, ready to sample, to score, to complete and to compress. It comes with the package: no download.

    | name            | events                                          | flow           |
    |-----------------|-------------------------------------------------|----------------|
    | "digits"        | scikit-learn's digits, 8×8×1 of 17 levels       | `SubpixelFlow` |
    | "moons"         | two moons, points in the plane                  | `RealNVP`      |
    | "mnist"         | MNIST, 28×28×1 of 256 levels                    | `SubpixelFlow` |
    | "fashion_mnist" | Fashion-MNIST, 28×28×1 of 256 levels            | `SubpixelFlow` |
    | "cifar10"       | CIFAR-10, 32×32×3 of 256 levels                 | `SubpixelFlow` |

    All are unconditional and in float32. A `SubpixelFlow` has the exact probabilities of the levels. The flow is the
    same in every process, so an archive of `compression` can be read in another one. `compile` it to train it further.

    Args:
      name: one of the names above.

    Raises:
      ValueError: for another name, or a file that differs from the one of its card.

    Example: `rnvp.pretrained("digits").sample(16, seed=0)` has shape [16, 8, 8, 1].
    """
    card = model_card(name)
    path = WEIGHTS / f"{name}.keras"
    if hashlib.sha256(path.read_bytes()).hexdigest() != card["sha256"]:
        raise ValueError(f"{path} is damaged: it must have the SHA-256 checksum {card['sha256']}. Install it anew")
    return load_model(path)


def model_card(name: str) -> dict[str, Any]:
    """The facts about a model of `pretrained`: its data, its training and its quality.

    Args:
      name: as for `pretrained`.

    Returns:
      A dictionary with these keys:

      - data and license: the training data, and the license of these data
      - config and command: the config of this repository that trained the model, and the command
      - steps, seconds and seed: of the training. The seconds count the steps alone, without the evaluations
      - bits_per_dim, standard_error, split and num_examples: of the evaluation of the file
      - weights: the format of the weights in the file, "float16" or "float32"
      - bits_per_dim_before_rounding: the same evaluation of the weights as training left them
      - versions: of Python and the packages of this evaluation
      - sha256: the checksum of the file.

    Raises:
      ValueError: for another name.

    Example: `rnvp.model_card("digits")["bits_per_dim"]`
    """
    names = sorted(path.stem for path in WEIGHTS.glob("*.json"))
    if name not in names:
        raise ValueError(f"name must be one of {names}; got {name!r}")
    return json.loads((WEIGHTS / f"{name}.json").read_text())
