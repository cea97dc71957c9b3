"""Completion of events and linear inverse problems: the unknown entries of an image or vector by a trained flow."""

from tfp_realnvp.completion.modes import Mode, most_likely, restore_most_likely
from tfp_realnvp.completion.operators import Blur, Downsample, Identity, Mask, Measurements
from tfp_realnvp.completion.posteriors import Posterior, restore, sample
from tfp_realnvp.completion.refinement import refine

__all__ = [
    "Blur",
    "Downsample",
    "Identity",
    "Mask",
    "Measurements",
    "Mode",
    "Posterior",
    "most_likely",
    "refine",
    "restore",
    "restore_most_likely",
    "sample",
]
