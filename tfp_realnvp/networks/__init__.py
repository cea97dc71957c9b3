"""Conditioners and other networks, mostly Keras layers; a bijector uses them as callables."""

from tfp_realnvp.networks.activations import recorded, recording
from tfp_realnvp.networks.actnorm import ChannelAffine, Whitening, initializing, uninitialized
from tfp_realnvp.networks.batch_norm import BatchNormalization
from tfp_realnvp.networks.context import ContextMaps, WithContext
from tfp_realnvp.networks.dense_resnet import DenseResNet
from tfp_realnvp.networks.dynamics import ConvDynamics, MLPDynamics, TimeConv2D
from tfp_realnvp.networks.gated import GatedBlock, GatedConvNet
from tfp_realnvp.networks.glow import GlowNet
from tfp_realnvp.networks.interpolating import InterpolatingResNet
from tfp_realnvp.networks.matrix import InvertibleMatrix
from tfp_realnvp.networks.mlp import MLP
from tfp_realnvp.networks.moments import FixedMoments, Moments
from tfp_realnvp.networks.order import FixedOrder
from tfp_realnvp.networks.rematerialization import Rematerialized
from tfp_realnvp.networks.resnet import ResidualBlocks, ResNet
from tfp_realnvp.networks.scales import BoundedScale, ChannelTanhScale, Constant, SigmoidScale, TanhScale
from tfp_realnvp.networks.vit import TransformerBlock, VisionTransformer
from tfp_realnvp.networks.weight_norm import WeightNormConv2D

__all__ = [
    "MLP",
    "MLPDynamics",
    "BatchNormalization",
    "BoundedScale",
    "ChannelAffine",
    "ChannelTanhScale",
    "Constant",
    "ContextMaps",
    "ConvDynamics",
    "DenseResNet",
    "FixedMoments",
    "FixedOrder",
    "GatedBlock",
    "GatedConvNet",
    "GlowNet",
    "InterpolatingResNet",
    "InvertibleMatrix",
    "Moments",
    "Rematerialized",
    "ResNet",
    "ResidualBlocks",
    "SigmoidScale",
    "TanhScale",
    "TimeConv2D",
    "TransformerBlock",
    "VisionTransformer",
    "WeightNormConv2D",
    "Whitening",
    "WithContext",
    "initializing",
    "recorded",
    "recording",
    "uninitialized",
]
