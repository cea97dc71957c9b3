"""Conditioners as Keras layers: Keras only, no TFP. A bijector sees them as callables."""

from tfp_realnvp.networks.layers import BatchNormalization, Moments, TanhScale, WeightNormConv2D
from tfp_realnvp.networks.mlp import MLP
from tfp_realnvp.networks.resnet import ResidualBlock, ResNet

__all__ = ["MLP", "BatchNormalization", "Moments", "ResNet", "ResidualBlock", "TanhScale", "WeightNormConv2D"]
