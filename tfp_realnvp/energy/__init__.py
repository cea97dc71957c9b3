"""Flows for unnormalised densities: training by an energy, importance weights, MCMC and surrogate posteriors."""

from tfp_realnvp.energy.kernels import independence, kernel, neutra
from tfp_realnvp.energy.modes import explore, forward_ess
from tfp_realnvp.energy.surrogates import Surrogate, surrogate
from tfp_realnvp.energy.training import fit
from tfp_realnvp.energy.weights import WeightedSamples, weigh

__all__ = [
    "Surrogate",
    "WeightedSamples",
    "explore",
    "fit",
    "forward_ess",
    "independence",
    "kernel",
    "neutra",
    "surrogate",
    "weigh",
]
