"""The flows of the papers, each in a file that reads like the paper's figure. Here bijectors meet networks."""

from tfp_realnvp.architectures.architecture import Architecture
from tfp_realnvp.architectures.ffjord import FFJORD
from tfp_realnvp.architectures.glow import Glow
from tfp_realnvp.architectures.jet import Jet
from tfp_realnvp.architectures.mrcnf import MRCNF
from tfp_realnvp.architectures.nice import NICE
from tfp_realnvp.architectures.real_nvp import RealNVP
from tfp_realnvp.architectures.subpixel import SubpixelFlow
from tfp_realnvp.architectures.uva import UvA
from tfp_realnvp.architectures.vector_real_nvp import VectorRealNVP

__all__ = [
    "FFJORD",
    "MRCNF",
    "NICE",
    "Architecture",
    "Glow",
    "Jet",
    "RealNVP",
    "SubpixelFlow",
    "UvA",
    "VectorRealNVP",
]
