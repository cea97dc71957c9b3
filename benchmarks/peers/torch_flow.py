"""The common part of the contestants in PyTorch: dequantization and the training step around a library's flow."""

import math

import torch

from benchmarks import flops
from benchmarks.peers import BATCH, TRAINING_BATCH, random_data


class TorchFlow:
    """A flow over images in [0, 1], channels first, as a contestant with pixel levels as its data.

    Args:
      flow: `torch.nn.Module`.
      log_prob: function: images in [0, 1] ↦ their log-densities.
      draw: function: a number ↦ this number of images in [0, 1].
      autocast: whether convolutions run in bfloat16.
      batch_size, learning_rate, beta_2, clip_norm: settings of the training.
    """

    def __init__(
        self, flow, log_prob, draw, autocast=False, batch_size=32, learning_rate=1e-3, beta_2=0.999, clip_norm=100.0
    ):
        self.flow, self._log_prob, self._draw = flow, log_prob, draw
        self._autocast = torch.autocast("cpu", torch.bfloat16, enabled=autocast)
        self.batch_size, self.learning_rate, self._clip_norm = batch_size, learning_rate, clip_norm
        self.optimizer = torch.optim.Adam(flow.parameters(), learning_rate, (0.9, beta_2))
        self.images = random_data.batch("images", TRAINING_BATCH["images"])
        self.batch = random_data.batch("images", BATCH["images"])

    def train_step(self):
        self.train(self.images, self.learning_rate)

    def log_prob(self):
        self.flow.eval()
        with torch.no_grad():
            return self._log_likelihood(self.batch)

    def sample(self):
        self.flow.eval()
        with torch.no_grad(), self._autocast:
            return (self._draw(len(self.batch)) * 256).clamp(0, 255).byte()

    def size(self, method):
        return len(self.images if method == "train_step" else self.batch)

    def flops(self, method):
        return flops.of_torch(getattr(self, method))

    def train(self, images, learning_rate):
        """One step on these uint8 images."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.flow.train()
        self.optimizer.zero_grad()
        (-self._log_likelihood(images).mean()).backward()
        torch.nn.utils.clip_grad_norm_(self.flow.parameters(), self._clip_norm)
        self.optimizer.step()

    def bits_per_dim(self, images):
        """The bits/dim of uint8 images."""
        self.flow.eval()
        with torch.no_grad():
            nats = [self._log_likelihood(images[i : i + 200]) for i in range(0, len(images), 200)]
        return float(-torch.cat(nats).mean() / (math.prod(images.shape[1:]) * math.log(2)))

    def _log_likelihood(self, images):
        """The log-likelihood in nats of uint8 images with uniform noise."""
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        with self._autocast:
            log_density = self._log_prob((x + torch.rand_like(x)) / 256)
        return log_density.float() - math.prod(images.shape[1:]) * math.log(256)
