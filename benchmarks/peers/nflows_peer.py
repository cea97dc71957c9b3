"""Config A from parts of nflows: its couplings, residual networks, actnorms and multi-scale transform.

nflows has no batch norm for images, so actnorms replace our batch norms after couplings. Its couplings have channel
masks only, so these replace our checkerboards. The networks have no skips.
"""

from nflows import distributions, flows, nn, transforms

from benchmarks.peers import CONFIG_A
from benchmarks.peers.torch_flow import TorchFlow


def real_nvp(event_shape=CONFIG_A["event_shape"], **options):
    """Three couplings, squeeze, three couplings of twice the width; half of the channels leave; four couplings."""
    height, width, channels = event_shape
    filters = CONFIG_A["filters"]
    finer = [*_couplings(3, channels, filters), transforms.SqueezeTransform()]
    finer += _couplings(3, 4 * channels, 2 * filters)
    multi_scale = transforms.MultiscaleCompositeTransform(2)
    shape = multi_scale.add_transform(transforms.CompositeTransform(finer), (4 * channels, height // 2, width // 2))
    multi_scale.add_transform(transforms.CompositeTransform(_couplings(4, shape[0], 2 * filters)), shape)
    to_logits = [transforms.AffineScalarTransform(shift=0.05, scale=0.9), transforms.Logit()]
    base = distributions.StandardNormal([height * width * channels])
    flow = flows.Flow(transforms.CompositeTransform([*to_logits, multi_scale]), base)
    return TorchFlow(flow, flow.log_prob, flow.sample, **options)


def _couplings(number, channels, filters):
    layers = []
    for i in range(number):
        mask = [(channel + i) % 2 for channel in range(channels)]
        layers += [transforms.AffineCouplingTransform(mask, _network(filters)), transforms.ActNorm(channels)]
    return layers


def _network(filters):
    options = dict(hidden_channels=filters, num_blocks=CONFIG_A["num_blocks"], use_batch_norm=True)
    return lambda kept, parameters: nn.nets.ConvResidualNet(kept, parameters, **options)
