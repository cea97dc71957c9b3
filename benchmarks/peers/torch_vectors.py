"""Couplings over vectors from nflows and zuko: affine, with alternating masks and our MLPs, without norms."""

import nflows.distributions
import nflows.flows
import nflows.nn.nets
import nflows.transforms
import torch
import zuko

from benchmarks import flops
from benchmarks.peers import VECTORS, random_data


def of_nflows(size, number):
    """The couplings of nflows, which bound the scale by a sigmoid."""
    couplings = [
        nflows.transforms.AffineCouplingTransform([(entry + i) % 2 for entry in range(size)], _network)
        for i in range(VECTORS["num_couplings"])
    ]
    base = nflows.distributions.StandardNormal([size])
    flow = nflows.flows.Flow(nflows.transforms.CompositeTransform(couplings), base)
    return TorchVectors(flow, flow.log_prob, flow.sample, size, number)


def _network(kept, parameters):
    return _Conditioner([kept], [parameters], VECTORS["hidden_units"])


class _Conditioner(nflows.nn.nets.MLP):
    """nflows' couplings hand on a context, which its MLP does not take."""

    def forward(self, kept, context=None):
        return super().forward(kept)


def of_zuko(size, number):
    """zuko's NICE, whose couplings are affine."""
    flow = zuko.flows.NICE(size, transforms=VECTORS["num_couplings"], hidden_features=VECTORS["hidden_units"])
    return TorchVectors(flow, lambda x: flow().log_prob(x), lambda number: flow().sample([number]), size, number)


class TorchVectors:
    """A flow over vectors as a contestant, trained by PyTorch's Adam.

    Args:
      flow: `torch.nn.Module`.
      log_prob: function of vectors.
      draw: function: a number ↦ this number of vectors.
      size: size of a vector.
      number: number of vectors a call.
    """

    def __init__(self, flow, log_prob, draw, size, number):
        self._flow, self._log_prob, self._draw, self._number = flow, log_prob, draw, number
        self._optimizer = torch.optim.Adam(flow.parameters(), 1e-3)
        self._vectors = torch.from_numpy(random_data.batch("vectors", number, size))

    def train_step(self):
        self._optimizer.zero_grad()
        (-self._log_prob(self._vectors).mean()).backward()
        torch.nn.utils.clip_grad_norm_(self._flow.parameters(), 100.0)
        self._optimizer.step()

    def log_prob(self):
        with torch.no_grad():
            return self._log_prob(self._vectors)

    def sample(self):
        with torch.no_grad():
            return self._draw(self._number)

    def size(self, method):
        return self._number

    def flops(self, method):
        return flops.of_torch(getattr(self, method))
