"""Config A without a flow: its networks, for the flow's overhead, and their convolutions, the limit of its speed."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

import tfp_realnvp as rnvp
from benchmarks import flops
from benchmarks.peers import CONFIG_A, TRAINING_BATCH, random_data

# For each coupling: the side of its images, the number of kept channels, the network's width, whether a checkerboard.
COUPLINGS = [(32, 3, 32, True)] * 3 + [(16, 6, 64, False)] * 3 + [(16, 6, 64, True)] * 4


def stock():
    """The networks in Keras's own layers: the same convolutions, without weight norm, and the same norms."""
    return Bare([_stock_network(*coupling) for coupling in COUPLINGS])


def of_ours():
    """The networks in our layers, so that only the flow is missing."""
    return Bare(
        [
            rnvp.networks.ResNet(2 * channels, filters, CONFIG_A["num_blocks"], 1 if is_checkerboard else None)
            for _, channels, filters, is_checkerboard in COUPLINGS
        ]
    )


def _stock_network(side, channels, filters, is_checkerboard):
    convolution = lambda width, size, **options: layers.Conv2D(width, size, padding="same", **options)
    norm_relu = lambda h: layers.ReLU()(layers.BatchNormalization()(h))
    x = keras.Input((side, side, channels))
    h = layers.BatchNormalization()(x)
    mask = [ops.ones_like(h[..., :1])] if is_checkerboard else []
    h = convolution(filters, 3)(layers.ReLU()(layers.Concatenate()([h, -h, *mask])))
    skip = convolution(filters, 1)(h)
    for _ in range(CONFIG_A["num_blocks"]):
        residual = convolution(filters, 3, use_bias=False)(norm_relu(h))
        h = layers.Add()([h, convolution(filters, 3)(norm_relu(residual))])
        skip = layers.Add()([skip, convolution(filters, 1)(h)])
    return keras.Model(x, convolution(2 * channels, 1)(norm_relu(skip)))


class Networks(keras.Model):
    """A chain of networks, each on half of the output before; x ↦ the sum of their mean squares, [batch].

    Args:
      networks: list of Keras layers, one per entry of `COUPLINGS`.
    """

    def __init__(self, networks):
        super().__init__()
        self.networks = networks

    def call(self, x):
        squares = 0.0
        for network, (side, channels, *_) in zip(self.networks, COUPLINGS, strict=True):
            if x.shape[1] != side:
                x = tf.nn.space_to_depth(x, 2)[..., :channels]
            output = network(x)
            squares += ops.mean(ops.square(output), axis=(1, 2, 3))
            x = output[..., :channels]
        return squares


class Bare:
    """`Networks` as a contestant, trained by stock Keras with the optimizer of a flow.

    Args:
      networks: see `Networks`.
    """

    def __init__(self, networks):
        images = random_data.batch("images", TRAINING_BATCH["images"])
        self.images, self.targets = images.astype(np.float32) / 128 - 1, np.zeros(len(images), np.float32)
        self.model = Networks(networks)
        optimizer = rnvp.optimizers.Adam(1e-3, epsilon=1e-8, global_clipnorm=100.0)
        self.model.compile(optimizer, loss=lambda targets, squares: ops.mean(squares - targets))

    def fit_a_step(self):
        """Keras's `fit` of one batch."""
        self.model.fit(self.images, self.targets, batch_size=len(self.images), verbose=0)

    def train_step(self):
        self.model.train_on_batch(self.images, self.targets)

    def size(self, method):
        del method
        return TRAINING_BATCH["images"]

    def flops(self, method):
        step = tf.function(lambda *data: getattr(self.model, method)(data), autograph=False)
        return flops.of_graph(step, tf.constant(self.images), tf.constant(self.targets))


class Convolutions:
    """The convolutions of a training step alone: each network forward, and the gradients of inputs and kernels.

    It has no norms, activations, flow or optimizer, so no step with these convolutions can be faster.

    Args:
      dtype: name of the convolutions' type.
    """

    def __init__(self, dtype):
        shapes = [self._shapes(*coupling) for coupling in COUPLINGS]
        normal = lambda shape: tf.cast(tf.random.stateless_normal(shape, [0, len(shape)], stddev=0.05), dtype)
        self._networks = [(normal(image), [normal(kernel) for kernel in kernels]) for image, kernels in shapes]
        self._step = tf.function(self._gradients)

    def _shapes(self, side, channels, filters, is_checkerboard):
        """The shape of the input, and of the kernels: the first, a skip; two and a skip per block; the last."""
        skip, block = (1, 1, filters, filters), (3, 3, filters, filters)
        kernels = [(3, 3, 2 * channels + is_checkerboard, filters), skip]
        kernels += [block, block, skip] * CONFIG_A["num_blocks"]
        image = (TRAINING_BATCH["images"], side, side, 2 * channels + is_checkerboard)
        return image, [*kernels, (1, 1, filters, 2 * channels)]

    def _gradients(self, networks):
        convolution = lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "SAME")
        gradients = []
        for x, kernels in networks:
            with tf.GradientTape() as tape:
                tape.watch((x, kernels))
                first, skip, *blocks, last = kernels
                h = convolution(x, first)
                outputs = [convolution(h, skip)]
                for one, other, skip in zip(*[iter(blocks)] * 3, strict=True):
                    h = convolution(convolution(h, one), other)
                    outputs.append(convolution(h, skip))
                outputs.append(convolution(outputs[-1], last))
            # The time does not depend on the values of the outputs' gradients, so the outputs serve as them.
            gradients.append(tape.gradient(outputs, [x, *kernels], outputs))
        return gradients

    def train_step(self):
        self._step(self._networks)

    def size(self, method):
        del method
        return TRAINING_BATCH["images"]

    def flops(self, method):
        del method
        return flops.of_graph(self._step, self._networks)
