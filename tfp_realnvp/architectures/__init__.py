"""The flows of the papers, one file each."""

from tfp_realnvp.architectures import official_checkpoint
from tfp_realnvp.architectures.real_nvp import RealNVP

__all__ = ["RealNVP", "official_checkpoint"]
