"""The contestants. Each file makes objects with these methods, or some of them:

  train_step()     one step of training, finished on return
  log_prob()       log-probabilities of a batch, from pixel levels or vectors
  sample()         a batch of samples, pixel levels or vectors
  flops(method)    counted FLOPs per call of a method: of convolutions, or of an MLP's matrix products
  size(method)     number of images or vectors per call

and for time to quality, with attributes `batch_size` and `learning_rate`:

  train(images, learning_rate), bits_per_dim(images)

A contestant lives in a process of its own, and only this process imports its framework. This file holds names only.
"""

import contextlib
import dataclasses
import functools
import importlib
import os

CONFIG_A = dict(event_shape=(32, 32, 3), num_scales=2, filters=32, num_blocks=4)
VECTORS = dict(num_couplings=8, hidden_units=(512, 512))
VECTOR_SIZE = 64  # Where a part does not choose sizes itself.
RNODE = dict(
    event_shape=(32, 32, 3), filters=64, num_layers=4, tolerance=1e-3, coefficient=0.01, batch_size=16
)  # A block of RNODE, with the coefficients of its regularizers in bits per dimension.
TRAINING_BATCH = {"images": 32, "vectors": 1024}
BATCH = {"images": 64, "vectors": 1024}  # For log-probabilities and samples.


@dataclasses.dataclass(frozen=True)
class Maker:
    """The name of a function that makes a contestant, so that it can be sent to another process.

    Attributes:
      path: "module:function", below this package.
      options: the arguments of the function.
    """

    path: str
    options: dict = dataclasses.field(default_factory=dict)

    def imported(self):
        """The function with its options; the import also imports the contestant's framework."""
        module, name = self.path.split(":")
        with _silent():
            return functools.partial(getattr(importlib.import_module(f"benchmarks.{module}"), name), **self.options)


@contextlib.contextmanager
def _silent():
    """A scope that hides the messages of TensorFlow's libraries, which bypass Python's `sys.stderr`."""
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


OURS, OURS_BFLOAT16 = "ours", "ours, bfloat16"
BARE, BARE_OF_OURS = "bare networks, stock Keras", "bare networks, our layers"
CONVOLUTIONS, CONVOLUTIONS_BFLOAT16 = "convolutions alone", "convolutions alone, bfloat16"
DTYPE_POLICY = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
OF_PRECISION = {"float32": OURS, "bfloat16": OURS_BFLOAT16}
LIMIT_OF_PRECISION = {"float32": CONVOLUTIONS, "bfloat16": CONVOLUTIONS_BFLOAT16}
NFLOWS, NORMFLOWS, TFP_GLOW = "nflows", "normflows", "TFP's Glow"
NFLOWS_BFLOAT16 = "nflows, autocast to bfloat16"
OUR_VECTORS, TFP_VECTORS = "ours, vectors", "TFP's RealNVP, vectors"
OUR_SUBPIXEL, OUR_GLOW = "ours, SubpixelFlow", "ours, Glow"
NFLOWS_VECTORS, ZUKO_VECTORS = "nflows, vectors", "zuko, vectors"
MATRIX_PRODUCT = "matrix product"
PEERS = (NFLOWS, NORMFLOWS, TFP_GLOW)  # In float32, their default.

# The flows of vectors; each takes the size of a vector and the number of vectors.
OF_VECTORS = {
    OUR_VECTORS: "peers.ours:vector_real_nvp",
    TFP_VECTORS: "peers.tfp_real_nvp:vector_real_nvp",
    NFLOWS_VECTORS: "peers.torch_vectors:of_nflows",
    ZUKO_VECTORS: "peers.torch_vectors:of_zuko",
}

CONTESTANTS = {
    OURS: Maker("peers.ours:real_nvp", dict(dtype=DTYPE_POLICY["float32"])),
    OURS_BFLOAT16: Maker("peers.ours:real_nvp", dict(dtype=DTYPE_POLICY["bfloat16"])),
    BARE: Maker("peers.bare:stock"),
    BARE_OF_OURS: Maker("peers.bare:of_ours"),
    CONVOLUTIONS: Maker("peers.bare:Convolutions", dict(dtype="float32")),
    CONVOLUTIONS_BFLOAT16: Maker("peers.bare:Convolutions", dict(dtype="bfloat16")),
    NFLOWS: Maker("peers.nflows_peer:real_nvp"),
    NFLOWS_BFLOAT16: Maker("peers.nflows_peer:real_nvp", dict(autocast=True)),
    NORMFLOWS: Maker("peers.normflows_peer:real_nvp"),
    TFP_GLOW: Maker("peers.tfp_glow:glow"),
    OUR_SUBPIXEL: Maker("peers.ours:of_family", dict(config="train.configs.cifar10_fast")),
    OUR_GLOW: Maker("peers.ours:of_family", dict(config="train.configs.glow_cifar10_small")),
    **{name: Maker(OF_VECTORS[name]) for name in (OUR_VECTORS, TFP_VECTORS)},
    MATRIX_PRODUCT: Maker("peers.matrix_product:MatrixProduct"),
}
PACKAGES = ("torch", "nflows", "normflows", "zuko")  # See requirements-bench.txt.
