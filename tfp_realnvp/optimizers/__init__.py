"""Optimizers: Adam and Muon, which clip the gradient of the global batch, and a learning rate that warms up."""

from tfp_realnvp.optimizers.adam import Adam
from tfp_realnvp.optimizers.clipping import ClipsGlobally, check_clipping
from tfp_realnvp.optimizers.muon import Muon
from tfp_realnvp.optimizers.warm_up import WarmUp

__all__ = ["Adam", "ClipsGlobally", "Muon", "WarmUp", "check_clipping"]
