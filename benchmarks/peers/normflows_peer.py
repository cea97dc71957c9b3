"""Flows from parts of normflows: config A, and a small Glow for time to quality.

In config A actnorms replace the batch norms after couplings. All masks are channel masks, since the library's
checkerboards fold an image to half of its width. The networks have no skips.
"""

import normflows as nf

from benchmarks.peers import CONFIG_A
from benchmarks.peers.torch_flow import TorchFlow


def real_nvp(event_shape=CONFIG_A["event_shape"], **options):
    """Three couplings, squeeze, three couplings of twice the width; half of the channels leave; four couplings."""
    height, width, channels = event_shape
    filters = CONFIG_A["filters"]
    finer = [*_couplings(3, 4 * channels, 2 * filters), nf.flows.Squeeze(), *_couplings(3, channels, filters)]
    coarser = _couplings(4, 2 * channels, 2 * filters)
    shape = (2 * channels, height // 2, width // 2)
    bases = [nf.distributions.DiagGaussian(shape, trainable=False) for _ in range(2)]
    return _contestant(bases, [coarser, finer], options)


def glow(event_shape=CONFIG_A["event_shape"], num_scales=3, steps_per_scale=8, filters=128, **options):
    """The library's Glow, with its own blocks and base distribution."""
    height, width, channels = event_shape
    bases, flows = [], []
    for scale in reversed(range(num_scales)):
        squeezed = 2 ** (scale + 2) * channels
        blocks = [nf.flows.GlowBlock(squeezed, filters) for _ in range(steps_per_scale)]
        flows.append([*blocks, nf.flows.Squeeze()])
        leaving = squeezed if scale == num_scales - 1 else squeezed // 2
        bases.append(nf.distributions.GlowBase((leaving, height // 2 ** (scale + 1), width // 2 ** (scale + 1))))
    return _contestant(bases, flows, options)


def _contestant(bases, flows, options):
    merges = [nf.flows.Merge() for _ in bases[1:]]
    flow = nf.MultiscaleFlow(bases, flows, merges, nf.transforms.Logit(alpha=0.05), class_cond=False)
    return TorchFlow(flow, lambda x: flow.log_prob(x, None), lambda number: flow.sample(number)[0], **options)


def _couplings(number, channels, filters):
    """Couplings in the library's direction, latent → data."""
    layers, larger = [], (channels + 1) // 2
    for i in range(number):
        kept, mode = [(larger, "channel"), (channels - larger, "channel_inv")][i % 2]
        network = nf.nets.ConvResidualNet(
            kept, 2 * (channels - kept), filters, num_blocks=CONFIG_A["num_blocks"], use_batch_norm=True
        )
        layers += [nf.flows.ActNorm((channels, 1, 1)), nf.flows.AffineCouplingBlock(network, split_mode=mode)]
    return layers
