"""TFP's Glow: `tfb.Glow` with its default networks, at a size where a training step has config A's FLOPs.

For a log-probability TFP runs each network twice, once for the value and once for the log-det. Both runs count: if each
network ran once, the model could be twice the size.
"""

import functools
import math

import tensorflow_probability as tfp

from benchmarks.peers import CONFIG_A
from benchmarks.peers.tfp_flow import TfpFlow

tfb = tfp.bijectors
tfd = tfp.distributions

NUM_BLOCKS, STEPS_PER_BLOCK, NUM_HIDDEN = 2, 6, 377


def glow():
    """Glow after the same logit as in the other contestants."""
    shape = CONFIG_A["event_shape"]
    bijector = tfb.Glow(
        shape,
        NUM_BLOCKS,
        STEPS_PER_BLOCK,
        functools.partial(tfb.GlowDefaultNetwork, num_hidden=NUM_HIDDEN),
        tfb.GlowDefaultExitNetwork,
        seed=0,
    )
    to_pixels = [tfb.Scale(256 / 0.9), tfb.Shift(-0.05), tfb.Sigmoid()]
    base = tfd.Sample(tfd.Normal(0.0, 1.0), math.prod(shape))
    return TfpFlow(tfd.TransformedDistribution(base, tfb.Chain([*to_pixels, bijector])), "images")
