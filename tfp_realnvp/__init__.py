"""Real NVP and normalizing flows for TensorFlow Probability and Keras."""

from tfp_realnvp import bijectors, dequantization, evaluation, networks, optimizers
from tfp_realnvp.architectures import RealNVP
from tfp_realnvp.model import FlowModel

__version__ = "0.1.0"
__all__ = ["FlowModel", "RealNVP", "bijectors", "dequantization", "evaluation", "networks", "optimizers"]
