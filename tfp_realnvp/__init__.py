"""Real NVP and normalizing flows for TensorFlow Probability and Keras."""

from tfp_realnvp import (
    anomaly,
    architectures,
    bijectors,
    calibration,
    completion,
    compression,
    dequantization,
    energy,
    evaluation,
    features,
    networks,
    optimizers,
)
from tfp_realnvp.architectures import (
    FFJORD,
    MRCNF,
    NICE,
    Architecture,
    Glow,
    Jet,
    RealNVP,
    SubpixelFlow,
    UvA,
    VectorRealNVP,
)
from tfp_realnvp.common import register
from tfp_realnvp.model import FlowModel
from tfp_realnvp.model_zoo import model_card, pretrained
from tfp_realnvp.saving import load_model

__version__ = "1.0.0"
__all__ = [
    "FFJORD",
    "MRCNF",
    "NICE",
    "Architecture",
    "FlowModel",
    "Glow",
    "Jet",
    "RealNVP",
    "SubpixelFlow",
    "UvA",
    "VectorRealNVP",
    "anomaly",
    "architectures",
    "bijectors",
    "calibration",
    "completion",
    "compression",
    "dequantization",
    "energy",
    "evaluation",
    "features",
    "load_model",
    "model_card",
    "networks",
    "optimizers",
    "pretrained",
    "register",
]
