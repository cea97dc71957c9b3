"""The laws that every bijector obeys, and the table of bijectors that they are tried on."""

import functools
import math

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests import families, graphs
from tfp_realnvp.bijectors import (
    ActNorm,
    BatchNormalization,
    ChannelAutoregressive,
    CoarseToFine,
    ContinuousFlow,
    Coupling,
    FactorOut,
    FusedBijector,
    Invertible1x1Convolution,
    LogisticMixture,
    Logit,
    Patches,
    Permutation,
    ResidualMixture,
    Sequential,
    Squeeze,
    UnimodularTransform,
    additive,
    affine,
    affine_scale_first,
)
from tfp_realnvp.bijectors.masks import ChangeAll, Channel, Checkerboard, Split
from tfp_realnvp.bijectors.solvers import DORMAND_PRINCE, Fixed

tfb = tfp.bijectors
tfd = tfp.distributions

ALMOST = {"float64": 1e-9, "float32": 1e-4}  # largest error relative to max(1, |value|)


# What the bijectors of the table are made of.


def networks_of(bijector):
    """The networks of `bijector` and of all that it is composed of, each once."""
    fused = (module for module in (bijector, *bijector.submodules) if isinstance(module, FusedBijector))
    networks = (network for b in fused for network in b.networks if not isinstance(network, tfb.Bijector))
    return list({id(network): network for network in networks}.values())


def randomize(bijector, seed=0):
    """Gives every weight a value of no special kind, so that no layer is the identity; returns `bijector`."""
    randomize_weights([w for network in networks_of(bijector) for w in getattr(network, "weights", ())], seed)
    return bijector


def randomize_weights(weights, seed=0):
    """Gives every Keras weight a value of no special kind, but for those that are fixed."""
    rng = np.random.default_rng(seed)
    for weight in weights:
        noise = rng.standard_normal(weight.shape)
        values = {"variance": np.exp(0.3 * noise), "a": 0.4 + 0.1 * noise, "filled": 0.5 + 0.1 * noise}
        if weight.name not in ("permutation", "sign"):
            weight.assign(values.get(weight.name, keras.ops.convert_to_numpy(weight) + 0.2 * noise))


def convolution_network(channels_in, channels_out, dtype, seed=0, bounded=True):
    """A convolutional conditioner, the quickest there is; `bounded` for the parameters of an affine map."""
    initializer = keras.initializers.GlorotUniform(seed)
    options = dict(activation="tanh", padding="same", kernel_initializer=initializer, dtype=dtype)
    network = keras.layers.Conv2D(channels_out, 3, **options)
    network = rnvp.networks.TanhScale(network, dtype=dtype) if bounded else network
    network.build((None, None, None, channels_in))
    return network


def mlp(size_in, size_out, dtype, seed=0):
    """A small conditioner of affine couplings over vectors."""
    network = rnvp.networks.TanhScale(rnvp.networks.MLP(size_out, [8], seed=seed, dtype=dtype), dtype=dtype)
    network.build((None, size_in))
    return network


def moments(size, dtype, running=False):
    """Moments of `size` channels."""
    network = rnvp.networks.Moments(running=running, dtype=dtype)
    network.build((None, size))
    return network


def built(layer, shape):
    """A Keras layer that is built for events of this shape."""
    layer.build((None, *shape))
    return layer


def act_norm(shape, dtype):
    return ActNorm(built(rnvp.networks.ChannelAffine(dtype=dtype), shape), event_ndims=len(shape))


def convolution(shape, dtype, factorized=True):
    matrix = built(rnvp.networks.InvertibleMatrix(shape[-1], factorized, seed=0, dtype=dtype), shape)
    return Invertible1x1Convolution(matrix, event_ndims=len(shape))


def prior(shape, dtype):
    """A shift and a log-scale a channel that depend on nothing."""
    dense = keras.layers.Dense(2 * shape[-1], kernel_initializer="zeros", dtype=dtype)
    return Coupling(ChangeAll(len(shape)), built(dense, (*shape[:-1], 0)))


def split_prior(dtype, channels=4):
    """What leaves, normalized by what stays, and a coupling of what stays."""
    conv = keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros", dtype=dtype)
    learned = Coupling(Channel(), built(conv, (None, None, channels // 2)))
    return tfb.Chain([FactorOut(channel_coupling(dtype, channels // 2)), learned])


class Training(keras.layers.Layer):
    """Calls `function` as Keras calls a model in training: `Training(function)(x, training=True)`."""

    def __init__(self, function):
        super().__init__(autocast=False)
        self.function = function

    def call(self, x):
        return self.function(x)


def in_training(function, x):
    """`function(x)` in Keras's training mode."""
    return Training(function)(x, training=True)


def continuous(network, shape, mask=None, num_steps=4, **options):
    """A continuous flow whose steps of one length are exact enough for the laws in double precision."""
    solver = Fixed(DORMAND_PRINCE, num_steps)
    return ContinuousFlow(built(network, shape), mask, event_ndims=len(shape), evaluation_solver=solver, **options)


def checkerboard_coupling(dtype, channels=2, top_left=1, bijector_fn=affine, seed=0):
    outputs = channels if bijector_fn is additive else 2 * channels
    network = convolution_network(channels, outputs, dtype, seed, bounded=bijector_fn is not additive)
    return Coupling(Checkerboard(top_left), network, bijector_fn)


def channel_coupling(dtype, channels=4, keep_first=True, seed=0):
    return Coupling(Channel(keep_first), convolution_network(channels // 2, channels, dtype, seed))


def column_parameters(kept):
    """A conditioner that is a plain function, of images: shift and log-scale of an affine map."""
    return tf.concat([tf.sin(3 * kept[:, :, ::-1]), 0.5 * tf.cos(kept[:, :, ::-1])], axis=-1)


def spline_parameters(kept):
    """A conditioner that is a plain function, of vectors of size 4: the 11 parameters of a spline of 4 bins."""
    phases = tf.reshape(tf.range(44, dtype=kept.dtype), [4, 11])
    return tf.sin(tf.reduce_sum(kept, axis=-1)[:, tf.newaxis, tf.newaxis] + phases)


def spline(params):
    """A stock TFP bijector with 4 bins on [-3, 3]."""
    widths, heights, slopes = tf.split(params, [4, 4, 3], axis=-1)
    return tfb.RationalQuadraticSpline(
        6 * tf.nn.softmax(widths), 6 * tf.nn.softmax(heights), tf.nn.softplus(slopes) + 0.1, range_min=-3.0
    )


def logistic_mixture(dtype):
    """Of three entries with four components each."""
    rng = np.random.default_rng(3)
    return LogisticMixture(*(tf.constant(rng.standard_normal([3, 4]), dtype) for _ in range(3)))


def mixture_parameters(kept):
    """A conditioner that is a plain function, of images with two channels kept and two changed: 15 numbers a pixel."""
    return 0.5 * tf.sin(kept[..., :1] + 2 * kept[..., 1:] + tf.range(15, dtype=kept.dtype))


def factor_out_two_deep(dtype):
    """A flow of images of size 4×4 in which a quarter of the entries reaches the innermost coupling."""
    innermost = tfb.Chain([tfb.Invert(Squeeze()), FactorOut(channel_coupling(dtype, channels=8, seed=1)), Squeeze()])
    outer = FactorOut(tfb.Chain([innermost, channel_coupling(dtype, seed=2)]))
    return tfb.Chain([tfb.Invert(Squeeze(diagonal_first=True)), outer, Squeeze(diagonal_first=True)])


def flow(architecture, event_shape, dtype, **kwargs):
    """The whole flow of an architecture."""
    return tfb.Invert(architecture(event_shape=event_shape, seed=0, dtype=dtype, **kwargs).bijector)


def family_row(make, dtype):
    """The row of a flow of tests/families.py."""
    event_shape = make.keywords["event_shape"]
    return flow(make, event_shape, dtype), event_shape


# name -> function(dtype) that returns a bijector, forward data → latent, and the shape of its events. The latents may
# be any real numbers.
BIJECTORS = {
    "checkerboard_1": lambda dtype: (checkerboard_coupling(dtype), (4, 4, 2)),
    "checkerboard_0": lambda dtype: (checkerboard_coupling(dtype, top_left=0), (4, 2, 2)),
    "scale_first": lambda dtype: (checkerboard_coupling(dtype, bijector_fn=affine_scale_first), (4, 4, 2)),
    "additive": lambda dtype: (checkerboard_coupling(dtype, bijector_fn=additive), (4, 4, 2)),
    "channel_first": lambda dtype: (channel_coupling(dtype), (2, 4, 4)),
    "channel_second": lambda dtype: (channel_coupling(dtype, keep_first=False), (2, 4, 4)),
    "columns": lambda dtype: (Coupling(np.array([[[1], [0]] * 2]), column_parameters), (2, 4, 3)),
    "vector": lambda dtype: (Coupling(np.array([1, 0, 1]), mlp(3, 6, dtype)), (3,)),
    "split": lambda dtype: (Coupling(Split([1, 0, 0, 1, 0]), mlp(2, 6, dtype)), (5,)),
    "spline": lambda dtype: (Coupling([1, 0, 0, 1], spline_parameters, spline), (4,)),
    "logistic_mixture": lambda dtype: (logistic_mixture(dtype), (3,)),
    "channel_autoregressive": lambda dtype: (ChannelAutoregressive(tf.constant([0.7, -0.3, 1.1], dtype)), (3,)),
    "channel_quarter": lambda dtype: (
        Coupling(Channel(num_first=2), mixture_parameters, ResidualMixture(2, 2, unit=0.5)),
        (2, 3, 4),
    ),
    "nothing": lambda dtype: (prior((2, 4, 3), dtype), (2, 4, 3)),
    "nothing_vector": lambda dtype: (prior((3,), dtype), (3,)),
    "act_norm": lambda dtype: (act_norm((2, 4, 3), dtype), (2, 4, 3)),
    "act_norm_vector": lambda dtype: (act_norm((3,), dtype), (3,)),
    "convolution": lambda dtype: (convolution((2, 4, 3), dtype), (2, 4, 3)),
    "convolution_free": lambda dtype: (convolution((2, 4, 3), dtype, factorized=False), (2, 4, 3)),
    "convolution_vector": lambda dtype: (convolution((4,), dtype), (4,)),
    "norm": lambda dtype: (BatchNormalization(moments(2, dtype)), (4, 4, 2)),
    "norm_checkerboard": lambda dtype: (BatchNormalization(moments(2, dtype), Checkerboard(0)), (4, 4, 2)),
    "norm_channel": lambda dtype: (BatchNormalization(moments(2, dtype), Channel()), (2, 4, 4)),
    "norm_running": lambda dtype: (BatchNormalization(moments(2, dtype, running=True)), (4, 4, 2)),
    "norm_vector": lambda dtype: (BatchNormalization(moments(3, dtype), event_ndims=1), (3,)),
    "continuous": lambda dtype: (
        continuous(rnvp.networks.MLPDynamics(2, [4], "sigmoid", seed=0, dtype=dtype), (2,), adjoint=True),
        (2,),
    ),
    "continuous_channel": lambda dtype: (
        continuous(
            rnvp.networks.ConvDynamics(2, 2, 2, activation="sigmoid", seed=0, dtype=dtype),
            (2, 1, 3),
            Channel(num_first=1),
            num_steps=2,
        ),
        (2, 1, 3),
    ),
    "patches": lambda dtype: (Patches(3), (3, 6, 2)),
    "permutation": lambda dtype: (Permutation(built(rnvp.networks.FixedOrder([3, 0, 2, 1]), (4,))), (2, 1, 2)),
    "unimodular": lambda dtype: (UnimodularTransform(), (4, 2, 3)),
    "coarse_to_fine": lambda dtype: (CoarseToFine((3, 2, 2)), (3, 2, 2)),
    "squeeze": lambda dtype: (Squeeze(), (4, 2, 2)),
    "squeeze_diagonal_first": lambda dtype: (Squeeze(diagonal_first=True), (4, 2, 2)),
    "factor_out": lambda dtype: (FactorOut(channel_coupling(dtype, channels=2)), (2, 2, 4)),
    "factor_out_quarter": lambda dtype: (FactorOut(channel_coupling(dtype, 2), num_kept=2), (2, 2, 8)),
    "factor_out_split_prior": lambda dtype: (split_prior(dtype), (2, 2, 4)),
    "factor_out_two_deep": lambda dtype: (factor_out_two_deep(dtype), (4, 4, 2)),
    "sequential": lambda dtype: (
        Sequential([checkerboard_coupling(dtype), Squeeze(), channel_coupling(dtype, 8), tfb.Invert(Squeeze())]),
        (2, 4, 2),
    ),
    "logit_256": lambda dtype: (Logit(), (2, 2, 1)),
    "logit_17": lambda dtype: (Logit(num_bins=17, alpha=0.01), (2, 2, 1)),
    **{name: functools.partial(family_row, make) for name, make in families.flows("laws").items()},
}


def forward(bijector, x, event_ndims):
    """Value and log-det, of an array or tensor."""
    x = tf.convert_to_tensor(x)
    return bijector.forward(x), bijector.forward_log_det_jacobian(x, event_ndims)


def inverse(bijector, y, event_ndims):
    """Value and log-det, of an array or tensor."""
    y = tf.convert_to_tensor(y)
    return bijector.inverse(y), bijector.inverse_log_det_jacobian(y, event_ndims)


class Case:
    """A bijector of the table with examples, and with its answers on them as arrays, which no cache knows.

    Attributes:
      bijector, event_shape, dtype: what the laws are about.
      z: array of shape [2, 3] + latent_shape, random latents.
      x, inverse_log_det: the inverse of z and its log-det.
      y, forward_log_det: the forward of x and its log-det.
    """

    batch_shape = (2, 3)

    def __init__(self, bijector, event_shape, dtype):
        self.bijector, self.event_shape, self.dtype = randomize(bijector), event_shape, dtype
        self.latent_shape = tuple(bijector.forward_event_shape(event_shape))
        self.shapes = (event_shape, self.latent_shape)
        self.event_ndims, self.event_size = len(event_shape), math.prod(event_shape)
        self.z = np.random.default_rng(1).standard_normal(self.batch_shape + self.latent_shape).astype(dtype)
        self.x, self.inverse_log_det = self.inverse(self.z)
        self.y, self.forward_log_det = self.forward(self.x)

    def forward(self, x):
        """Value and log-det of an array, as arrays."""
        return [answer.numpy() for answer in forward(self.bijector, x, self.event_ndims)]

    def inverse(self, y):
        """Value and log-det of an array, as arrays."""
        return [answer.numpy() for answer in inverse(self.bijector, y, self.event_ndims)]

    def distribution(self):
        """The flow: standard normal latents, in the shape of events."""
        base = tfd.Sample(tfd.Normal(tf.zeros([], self.dtype), 1.0), self.latent_shape)
        return tfd.TransformedDistribution(base, tfb.Invert(self.bijector))

    def normal_log_prob(self, z):
        """Log-density of latents by hand."""
        return np.sum(-0.5 * (z**2 + np.log(2 * np.pi)), axis=tuple(range(-self.event_ndims, 0)))

    def log_prob(self):
        """Log-density of x by hand: the change of variables."""
        return self.normal_log_prob(self.y) + self.forward_log_det

    def assert_close(self, actual, expected, tolerance=None):
        assert_close(actual, expected, tolerance or ALMOST[self.dtype])


def assert_close(actual, expected, tolerance):
    """|actual − expected| ≤ tolerance · max(1, |expected|), and equal shapes."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    error = np.abs(actual - expected) / np.maximum(1, np.abs(expected))
    assert np.all(error <= tolerance), f"relative error {np.max(error)}, tolerance {tolerance}"


def jacobian_log_det(function, x):
    """log|det| of the autodiff Jacobian of `function` at one event: a batch of copies of it has one row an example."""
    size = x.size
    copies = tf.constant(np.broadcast_to(x, (size, *x.shape)))
    with tf.GradientTape() as tape:
        tape.watch(copies)
        y = function(copies)
    rows = tape.gradient(y, copies, output_gradients=tf.reshape(tf.eye(size, dtype=y.dtype), y.shape))
    return np.linalg.slogdet(rows.numpy().reshape(size, size).astype("float64"))[1]


# Laws of the values, for every dtype.


def changes_its_input(case):
    assert np.abs(case.y.ravel() - case.x.ravel()).max() > 0.01


def round_trips_both_ways(case):
    case.assert_close(case.y, case.z)
    case.assert_close(case.inverse(case.y)[0], case.x)


def log_dets_are_those_of_the_autodiff_jacobian(case):
    forward = jacobian_log_det(case.bijector.forward, case.x[0, 0])
    case.assert_close(case.forward_log_det[0, 0] if case.forward_log_det.shape else case.forward_log_det, forward)
    inverse = jacobian_log_det(case.bijector.inverse, case.z[0, 0])
    case.assert_close(case.inverse_log_det[0, 0] if case.inverse_log_det.shape else case.inverse_log_det, inverse)


def forward_and_inverse_log_dets_are_negatives(case):
    case.assert_close(case.forward_log_det, -case.inverse_log_det)


def is_finite_and_bijective_far_from_the_origin(case):
    z = 3 * case.z
    x, inverse_log_det = case.inverse(z)
    y, forward_log_det = case.forward(x)
    for values in (x, y, forward_log_det, inverse_log_det):
        assert np.isfinite(values).all()
    tolerance = 100 * ALMOST[case.dtype]  # a logit at 12 is ill-conditioned
    case.assert_close(y, z, tolerance)
    case.assert_close(forward_log_det, -inverse_log_det, tolerance)


def keeps_the_dtype(case):
    for values in (case.x, case.y, case.forward_log_det, case.inverse_log_det):
        assert values.dtype == case.dtype


# Laws of the interface, which no dtype changes.


def log_det_has_the_shape_of_the_batch(case):
    # TFP gives the log-det of a constant Jacobian once.
    shape = () if case.bijector.is_constant_jacobian else case.batch_shape
    assert case.forward_log_det.shape == case.inverse_log_det.shape == shape
    of_larger_events = case.bijector.forward_log_det_jacobian(tf.constant(case.x), case.event_ndims + 1)
    case.assert_close(of_larger_events, np.sum(case.forward_log_det, axis=-1) if shape else 0.0)


def event_shapes_are_known_before_the_values(case):
    bijector = case.bijector
    assert tuple(bijector.forward_event_shape(case.event_shape)) == case.y.shape[2:]
    assert tuple(bijector.inverse_event_shape(case.latent_shape)) == case.x.shape[2:]
    assert tuple(bijector.forward_event_shape_tensor(case.event_shape)) == case.y.shape[2:]
    assert tuple(bijector.inverse_event_shape_tensor(case.latent_shape)) == case.x.shape[2:]


def one_by_one_gives_the_answers_of_the_batch(case):
    one = (0,) * len(case.batch_shape)
    for answers, expected in (
        (forward(case.bijector, case.x[one], case.event_ndims), (case.y, case.forward_log_det)),
        (inverse(case.bijector, case.z[one], case.event_ndims), (case.x, case.inverse_log_det)),
    ):
        case.assert_close(answers[0], expected[0][one])
        case.assert_close(answers[1], expected[1][one] if expected[1].shape else expected[1])


def a_graph_of_unknown_sizes_gives_the_eager_answers(case):
    @tf.function(autograph=False)
    def answers(x, z):
        return *forward(case.bijector, x, case.event_ndims), *inverse(case.bijector, z, case.event_ndims)

    specs = [tf.TensorSpec([None] * case.event_ndims + [shape[-1]], case.dtype) for shape in case.shapes]
    graph = answers.get_concrete_function(*specs)
    with graphs.as_they_are():
        actuals = graph(case.x[0], case.z[0])
    expected = (case.y, case.forward_log_det, case.x, case.inverse_log_det)
    for actual, array in zip(actuals, expected, strict=True):
        case.assert_close(actual, array[0] if array.shape else array)


def a_graph_of_an_unknown_batch_knows_the_shape_of_events(case):
    functions = case.bijector.forward, case.bijector.inverse
    for function, shape_in, shape_out in zip(functions, case.shapes, reversed(case.shapes), strict=True):
        traced = tf.function(function, autograph=False).get_concrete_function(
            tf.TensorSpec([None, *shape_in], case.dtype)
        )
        assert traced.structured_outputs.shape.as_list() == [None, *shape_out]


def composes_in_a_chain_with_stock_bijectors(case):
    half = tf.constant(0.5, case.dtype)
    chain = tfb.Chain([tfb.Shift(half), case.bijector, tfb.Scale(half)])
    value, log_det = forward(chain, 2 * case.x, case.event_ndims)
    case.assert_close(value, case.y + 0.5)
    case.assert_close(log_det, case.forward_log_det - case.event_size * np.log(2))


def inverts(case):
    inverted = tfb.Invert(case.bijector)
    case.assert_close(inverted.forward(case.z), case.x)
    log_det = inverted.forward_log_det_jacobian(tf.constant(case.z), case.event_ndims)
    case.assert_close(log_det, case.inverse_log_det)


def log_prob_of_a_transformed_distribution_is_the_change_of_variables(case):
    scalar = tfd.Normal(tf.zeros([], case.dtype), 1.0)
    array = tfd.Normal(tf.zeros(case.latent_shape, case.dtype), 1.0)
    for base in (tfd.Sample(scalar, case.latent_shape), tfd.Independent(array, case.event_ndims)):
        distribution = tfd.TransformedDistribution(base, tfb.Invert(case.bijector))
        assert distribution.event_shape == case.event_shape
        assert distribution.batch_shape == ()
        case.assert_close(distribution.log_prob(case.x), case.log_prob())


def a_sample_has_the_log_prob_that_it_came_with(case):
    distribution = case.distribution()
    sample, log_prob = distribution.experimental_sample_and_log_prob([2, 1], seed=[0, 1])
    assert sample.shape == (2, 1, *case.event_shape)
    case.assert_close(log_prob, distribution.log_prob(tf.identity(sample)))


def is_part_of_a_joint_distribution(case):
    def flow(mean):
        base = tfd.Sample(tfd.Normal(mean, tf.ones([], case.dtype)), case.latent_shape)
        return tfd.TransformedDistribution(base, tfb.Invert(case.bijector))

    joint = tfd.JointDistributionSequential([tfd.Normal(tf.zeros([], case.dtype), 1.0), flow])
    mean = np.linspace(-1, 1, 6, dtype=case.dtype).reshape(case.batch_shape)
    normalized = case.y - mean.reshape(case.batch_shape + (1,) * case.event_ndims)
    log_prob_of_mean = -0.5 * (mean**2 + np.log(2 * np.pi))
    expected = log_prob_of_mean + case.normal_log_prob(normalized) + case.forward_log_det
    case.assert_close(joint.log_prob([mean, case.x]), expected)
    assert joint.sample(2, seed=[0, 1])[1].shape == (2, *case.event_shape)


def a_copy_gives_the_same_with_the_same_variables(case):
    copied = case.bijector.copy(name="copied")
    assert copied.name == "copied"
    assert case.bijector.copy() == case.bijector
    value, log_det = forward(copied, case.x, case.event_ndims)
    case.assert_close(value, case.y)
    case.assert_close(log_det, case.forward_log_det)
    assert set(map(id, copied.variables)) == set(map(id, case.bijector.variables))


def variables_are_the_weights_of_the_networks(case):
    layers = [network for network in networks_of(case.bijector) if isinstance(network, keras.layers.Layer)]
    scale = tfb.Scale(tf.constant(2.0, case.dtype))
    distribution = tfd.TransformedDistribution(
        case.distribution().distribution, tfb.Chain([tfb.Invert(case.bijector), scale])
    )
    for module in (case.bijector, distribution):
        for attribute, weights in (("variables", "weights"), ("trainable_variables", "trainable_weights")):
            expected = [id(weight.value) for layer in layers for weight in getattr(layer, weights)]
            assert sorted(map(id, getattr(module, attribute))) == sorted(expected)


def gradients_of_log_prob_reach_every_weight(case):
    distribution, weights = case.distribution(), case.bijector.trainable_variables
    with tf.GradientTape() as tape:
        log_prob = tf.reduce_sum(distribution.log_prob(case.x))
    gradients = tape.gradient(log_prob, weights)
    assert all(gradient is not None for gradient in gradients)
    if not weights:
        return
    rng = np.random.default_rng(2)
    steps = [1e-5 * rng.standard_normal(weight.shape) for weight in weights]
    log_probs = []
    for factor in (1, -2, 1):  # there, to the other side, and back
        for weight, step in zip(weights, steps, strict=True):
            weight.assign_add(factor * step)
        log_probs.append(np.sum(distribution.log_prob(case.x)))
    difference = log_probs[0] - log_probs[1]
    expected = 2 * sum(np.sum(gradient * step) for gradient, step in zip(gradients, steps, strict=True))
    assert abs(difference - expected) < 1e-4 * abs(expected)


def gradients_of_log_prob_at_a_seen_x_are_those_at_a_copy(case):
    composed, distribution = composed_with_stock_bijectors(case)
    x = distribution.sample(2, seed=[0, 1])

    def log_prob_and_gradient(x):
        with tf.GradientTape() as tape:
            z = composed.inverse(x)  # Before the tape watches x; and z stays alive.
            tape.watch(x)
            log_prob = distribution.log_prob(x)
        return z, tape.gradient(log_prob, x)

    _, expected = log_prob_and_gradient(tf.identity(x))
    with tf.GradientTape() as older:
        older.watch(x)
        seen = composed.inverse(x), distribution.log_prob(x)
        case.assert_close(log_prob_and_gradient(x)[1], expected)
    case.assert_close(older.gradient(seen[1], x), expected)


def gradients_of_log_prob_at_a_sample_of_the_graph_are_those_at_a_copy(case):
    _, distribution = composed_with_stock_bijectors(case)

    @tf.function(autograph=False)
    def gradients():
        x = distribution.sample(2, seed=[0, 1])
        # First without a tape, as `tfp.mcmc` asks: a pass of a tape would take the place of the sample's.
        by_graph, expected = (tf.gradients(distribution.log_prob(x), x)[0] for x in (x, tf.identity(x)))
        with tf.GradientTape() as tape:
            tape.watch(x)
            log_prob = distribution.log_prob(x)
        return tape.gradient(log_prob, x), by_graph, expected

    with graphs.as_they_are():
        by_tape, by_graph, expected = gradients()
    case.assert_close(by_tape, expected)
    case.assert_close(by_graph, expected)


def composed_with_stock_bijectors(case):
    """The bijector, latent → data, with stock bijectors behind it, and a distribution with it."""
    half = tf.constant(0.5, case.dtype)
    composed = tfb.Chain([tfb.Shift(half), tfb.Scale(half), tfb.Invert(case.bijector)])
    return composed, tfd.TransformedDistribution(case.distribution().distribution, composed)


OF_VALUES = (
    changes_its_input,
    round_trips_both_ways,
    log_dets_are_those_of_the_autodiff_jacobian,
    forward_and_inverse_log_dets_are_negatives,
    is_finite_and_bijective_far_from_the_origin,
    keeps_the_dtype,
)

OF_THE_INTERFACE = (
    log_det_has_the_shape_of_the_batch,
    event_shapes_are_known_before_the_values,
    one_by_one_gives_the_answers_of_the_batch,
    a_graph_of_unknown_sizes_gives_the_eager_answers,
    a_graph_of_an_unknown_batch_knows_the_shape_of_events,
    composes_in_a_chain_with_stock_bijectors,
    inverts,
    log_prob_of_a_transformed_distribution_is_the_change_of_variables,
    a_sample_has_the_log_prob_that_it_came_with,
    is_part_of_a_joint_distribution,
    a_copy_gives_the_same_with_the_same_variables,
    variables_are_the_weights_of_the_networks,
    gradients_of_log_prob_reach_every_weight,
    gradients_of_log_prob_at_a_seen_x_are_those_at_a_copy,
)

# Large flows take seconds to trace.
OF_SMALL_GRAPHS = (gradients_of_log_prob_at_a_sample_of_the_graph_are_those_at_a_copy,)
