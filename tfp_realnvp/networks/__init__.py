"""Conditioners as Keras layers: Keras only, no TFP. A bijector sees them as callables."""

from tfp_realnvp.networks.actnorm import ChannelAffine, initializing, uninitialized
from tfp_realnvp.networks.conditional import ContextMaps, Given
from tfp_realnvp.networks.gated import GatedBlock, GatedConvNet
from tfp_realnvp.networks.glow import GlowNet
from tfp_realnvp.networks.interpolating import InterpolatingResNet
from tfp_realnvp.networks.layers import (
    BatchNormalization,
    ChannelTanhScale,
    Constant,
    FixedMoments,
    Moments,
    SigmoidScale,
    TanhScale,
    WeightNormConv2D,
)
from tfp_realnvp.networks.matrix import InvertibleMatrix
from tfp_realnvp.networks.mlp import MLP
from tfp_realnvp.networks.rematerialization import Rematerialized
from tfp_realnvp.networks.resnet import ResidualBlocks, ResNet

__all__ = [
    "MLP",
    "BatchNormalization",
    "ChannelAffine",
    "ChannelTanhScale",
    "Constant",
    "ContextMaps",
    "FixedMoments",
    "GatedBlock",
    "GatedConvNet",
    "Given",
    "GlowNet",
    "InterpolatingResNet",
    "InvertibleMatrix",
    "Moments",
    "Rematerialized",
    "ResNet",
    "ResidualBlocks",
    "SigmoidScale",
    "TanhScale",
    "WeightNormConv2D",
    "initializing",
    "uninitialized",
]
