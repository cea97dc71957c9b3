"""Invertible maps as `tfb.Bijector`s, without networks; forward is data → latent, as in the papers."""

from tfp_realnvp.bijectors import bins, divergence, masks, solvers, solves
from tfp_realnvp.bijectors.coarse_to_fine import CoarseToFine
from tfp_realnvp.bijectors.continuous import ContinuousFlow
from tfp_realnvp.bijectors.convolution import Invertible1x1Convolution
from tfp_realnvp.bijectors.coupling import Coupling, additive, affine, affine_scale_first, diagonal
from tfp_realnvp.bijectors.fused import FusedBijector
from tfp_realnvp.bijectors.mixture import ChannelAutoregressive, LogisticMixture, ResidualMixture
from tfp_realnvp.bijectors.normalization import ActNorm, BatchNormalization
from tfp_realnvp.bijectors.permutation import Permutation
from tfp_realnvp.bijectors.pixels import Logit
from tfp_realnvp.bijectors.reshaping import Broadcast, FactorOut, Patches, Squeeze, UnimodularTransform
from tfp_realnvp.bijectors.sequential import Sequential

__all__ = [
    "ActNorm",
    "BatchNormalization",
    "Broadcast",
    "ChannelAutoregressive",
    "CoarseToFine",
    "ContinuousFlow",
    "Coupling",
    "FactorOut",
    "FusedBijector",
    "Invertible1x1Convolution",
    "LogisticMixture",
    "Logit",
    "Patches",
    "Permutation",
    "ResidualMixture",
    "Sequential",
    "Squeeze",
    "UnimodularTransform",
    "additive",
    "affine",
    "affine_scale_first",
    "bins",
    "diagonal",
    "divergence",
    "masks",
    "solvers",
    "solves",
]
