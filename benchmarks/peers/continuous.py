"""A block of RNODE over images, by this package, by TFP, and without a solver: the loss and gradients of one batch."""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from benchmarks.peers import RNODE
from tfp_realnvp.bijectors import divergence, solvers, solves

tfb = tfp.bijectors
tfd = tfp.distributions


class Step:
    """A contestant: the gradients of a batch's loss by all weights, in one graph.

    A subclass has the attribute `weights`, a list of `tf.Variable`s, and the method `loss` or `gradients`.

    Args:
      is_for_any_batch: whether the graph is made for any number of images, or for a whole batch.
    """

    def __init__(self, is_for_any_batch=False):
        size, shape = RNODE["batch_size"], RNODE["event_shape"]
        self.images = tf.random.stateless_normal([size, *shape], [0, 0])
        specs = [tf.TensorSpec([None if is_for_any_batch else size, *shape])]
        self._step = tf.function(self.gradients, input_signature=specs, autograph=False)

    def gradients(self, x):
        """The gradients by the weights."""
        with tf.GradientTape() as tape:
            loss = self.loss(x)
        return tape.gradient(loss, self.weights)

    def train_step(self, number=None):
        """The gradients, arrays, for the first `number` images; None for all."""
        return [gradient.numpy() for gradient in self._step(self.images[:number])]


class Ours(Step):
    """`ContinuousFlow` with RNODE's regularizers.

    Args:
      num_steps: number of steps of RK4, for any number of images; None for adaptive steps, for a whole batch.
      adjoint: whether the gradients come from the adjoint equation.
    """

    def __init__(self, num_steps=None, adjoint=False):
        super().__init__(is_for_any_batch=num_steps is not None)
        self._network, self._divergence = _dynamics(), divergence.Hutchinson(seed=0)
        self._solver = solvers.Adaptive(solvers.BOGACKI_SHAMPINE, RNODE["tolerance"])
        if num_steps:
            self._solver = solvers.Fixed(solvers.RUNGE_KUTTA_4, num_steps)
        coefficient = RNODE["coefficient"] * np.prod(RNODE["event_shape"]) * np.log(2)
        flow = rnvp.bijectors.ContinuousFlow(
            self._network,
            event_ndims=3,
            divergence=self._divergence,
            solver=self._solver,
            adjoint=adjoint,
            kinetic_energy=coefficient,
            jacobian_norm=coefficient,
        )
        self._loss = Loss(tfd.TransformedDistribution(_base(), tfb.Invert(flow)))
        self.weights = [weight.value for weight in self._network.trainable_weights]

    def loss(self, x):
        return self._loss(x, training=True)

    def counts(self):
        """The number of evaluations of the batch's solve, and of those that the backward pass repeats."""
        probes = self._divergence.probes(self.images)

        def field(t, states):
            velocity, products = divergence.jacobian_products(lambda y: self._network(t, y), *states, probes)
            return [velocity], [divergence.sums(probes, products)[0]]

        @tf.function(autograph=False)
        def solved():
            zeros = tf.zeros([RNODE["batch_size"]])
            found = self._solver.solve(field, [self.images], [zeros], 0.0, 1.0, num_steering=1, record=True)
            return found.evaluations, found.trajectory[-1]

        evaluations, num_steps = solved()
        return {"evaluations": int(evaluations), "repeated": int(num_steps) * len(self._solver.method.weights)}


class Tfp(Step):
    """`tfb.FFJORD` with Hutchinson's trace and the solver of order 5, TFP's only one that fits; no regularizers."""

    def __init__(self):
        super().__init__()
        network, tolerance = _dynamics(), RNODE["tolerance"]
        solver = tfp.math.ode.DormandPrince(rtol=tolerance, atol=tolerance)
        flow = tfb.FFJORD(network, solver.solve, tfb.ffjord.trace_jacobian_hutchinson)
        self._distribution = tfd.TransformedDistribution(_base(), flow)
        self.weights = [weight.value for weight in network.trainable_weights]

    def loss(self, x):
        return -tf.reduce_mean(self._distribution.log_prob(x))


class Bare(Step):
    """The evaluations of our solve in two plain loops: without gradients, and with them.

    Args:
      evaluations, repeated: the numbers of evaluations, see `Ours.counts`.
      is_plain: whether the network consists of variables and TensorFlow's operations alone.
    """

    def __init__(self, evaluations, repeated, is_plain=False):
        super().__init__()
        self._numbers = evaluations, repeated
        self._network = Plain() if is_plain else _dynamics()
        self.weights = self._network.weights if is_plain else [each.value for each in self._network.trainable_weights]

    def gradients(self, x):
        evaluations, repeated = self._numbers
        probes = tf.sign(tf.random.stateless_normal(x.shape, [0, 1]))

        def forward(number, y, sums):
            velocity, added = self._evaluation(number / evaluations, y, probes)
            return number + 1, y + velocity / evaluations, sums + added

        def backward(number, y, a, totals):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([y, *self.weights])
                velocity, sums = self._evaluation(number / repeated, y, probes)
            by_y, *by_weights = tape.gradient([velocity, sums], [y, *self.weights], [a, tf.ones_like(sums)])
            totals = [total + gradient for total, gradient in zip(totals, by_weights, strict=True)]
            return number + 1, y - velocity / repeated, a + by_y / repeated, totals

        _, y, sums = _loop(evaluations, forward, x, tf.zeros([3, x.shape[0]]))
        zeros = [tf.zeros(weight.shape) for weight in self.weights]
        _, _, a, totals = _loop(repeated, backward, y, y, zeros)
        return [sums, a, *totals]

    def _evaluation(self, t, y, probes):
        """The velocities, and the sums over each image for the log-det and both regularizers."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(y)
            velocity = self._network(t, y)
        products = tape.gradient(velocity, y, probes)
        axes = [1, 2, 3]
        squares = [tf.reduce_sum(tf.square(each), axes) for each in (velocity, products)]
        return velocity, tf.stack([tf.reduce_sum(probes * products, axes), *squares])


class Plain:
    """The network of the block as a function of (t, y), without Keras."""

    def __init__(self):
        channels = RNODE["event_shape"][-1]
        widths = [channels, *[RNODE["filters"]] * (RNODE["num_layers"] - 1), channels]
        self._layers = [
            (tf.Variable(_small([3, 3, 1 + inputs, outputs])), tf.Variable(tf.zeros([outputs])))
            for inputs, outputs in zip(widths, widths[1:], strict=False)
        ]
        self.weights = [weight for layer in self._layers for weight in layer]

    def __call__(self, t, y):
        h = y
        for number, (kernel, bias) in enumerate(self._layers):
            h = tf.math.softplus(h) if number else h
            times = tf.fill([*h.shape[:-1], 1], t)
            h = tf.nn.conv2d(tf.concat([times, h], -1), kernel, 1, "SAME") + bias
        return h


class Loss(keras.layers.Layer):
    """The mean loss of a batch in nats, with the regularizers in training mode."""

    def __init__(self, distribution):
        super().__init__(autocast=False)
        self._distribution = distribution

    def call(self, x):
        with solves.solving(solves.Solves()) as found:
            log_prob = self._distribution.log_prob(x)
        return tf.add_n([-tf.reduce_mean(log_prob), *found.penalties])


def _base():
    return tfd.Sample(tfd.Normal(0.0, 1.0), RNODE["event_shape"])


def _dynamics():
    """The network of the block; its last kernel, zero in a new flow, gets values as well."""
    shape = RNODE["event_shape"]
    network = rnvp.networks.ConvDynamics(shape[-1], RNODE["filters"], RNODE["num_layers"], seed=0, dtype="float32")
    network.build((None, *shape))
    last = network.convolutions[-1].kernel
    last.assign(_small(last.shape))
    return network


def _small(shape):
    """Random values for a kernel, so small that the flow is smooth, though not trivial."""
    return tf.random.stateless_normal(shape, [0, 2], stddev=np.prod(shape[:-1]) ** -0.5)


def _loop(times, body, *initial):
    """A while loop whose body gets the number of the round as a float first."""
    return tf.while_loop(lambda number, *_: number < times, body, (tf.constant(0.0), *initial), parallel_iterations=1)
