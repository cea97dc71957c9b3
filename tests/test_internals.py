"""The private names of Keras, TensorFlow and TFP that the package uses: each is there and does what it is used for."""

import inspect
import pathlib
import re
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tfp_realnvp import internals

PRIVATE = re.compile("keras[.]src|tensorflow[.]python|tensorflow_probability[.]python|__inter[n]al__")

# Names that the package overrides or sets: a version that renames one would go on silently without ours.
OVERRIDDEN = {
    keras.Model: ["_maybe_symbolic_build"],
    keras.Variable: ["_initialize_with_initializer"],
    keras.optimizers.Adam: [
        "_clip_gradients",
        "_all_reduce_sum_gradients",
        "_get_current_learning_rate",
        "_update_model_variables_moving_average",
        "_backend_update_step",
        "_get_variable_index",
        "update_step",
    ],
    internals.BijectorCache: ["_get_or_create_edge", "_invoke"],
    tfp.bijectors.Bijector: [
        "_cache",
        "_no_dependency",
        "_TF_MODULE_IGNORED_PROPERTIES",
        "_parameter_properties",
        "_is_permutation",
        "_is_increasing",
    ],
}


@pytest.mark.parametrize("owner, name", [(owner, name) for owner, names in OVERRIDDEN.items() for name in names])
def test_an_overridden_name_is_there(owner, name):
    assert hasattr(owner, name), f"{owner.__module__}.{owner.__qualname__} has no {name}: see internals.py"


def test_no_other_file_names_private_modules():
    package = pathlib.Path(rnvp.__file__).parent
    root = package.parent
    files = [*package.rglob("*.py"), *(root / "train").rglob("*.py"), *(root / "benchmarks").rglob("*.py")]
    found = [path.name for path in files if PRIVATE.search(path.read_text())]
    assert found == ["internals.py"]


class Recorder(keras.layers.Layer):
    """Records `internals` during its calls."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.weight = self.add_weight(name="weight", shape=(1,), dtype="float32")
        self.seen = []

    def call(self, x):
        self.seen.append((internals.in_training(), internals.weights_are_substituted()))
        return x * self.weight


def test_the_mode_of_keras_call_is_known():
    layer = Recorder()
    assert not internals.in_training()
    for training in (True, False):
        layer(tf.ones([1]), training=training)
    assert layer.seen == [(True, False), (False, False)]


def test_substituted_weights_are_known():
    layer = Recorder()
    layer.build((1,))
    layer.stateless_call([layer.weight.value], [], tf.ones([1]))
    assert layer.seen[-1] == (False, True)


def test_the_variable_of_a_weight_is_the_one_that_is_trained():
    layer = Recorder(dtype="mixed_bfloat16")
    variable = internals.tf_variable(layer.weight)
    variable.assign([3.0])
    assert isinstance(variable, tf.Variable) and variable.dtype == tf.float32
    np.testing.assert_array_equal(layer.weight, [3.0])
    assert internals.tf_variable(variable) is variable


def test_variables_are_limited_before_they_are_made():
    with internals.limited_variables(100):
        keras.layers.Dense(4).build((None, 5))  # of 80 + 16 bytes
        with pytest.raises(ValueError, match="kernel of shape .* is larger than all that are allowed"):
            keras.layers.Dense(10**9).build((None, 10**9))
    keras.layers.Dense(40).build((None, 5))


def test_sublayers_are_the_layer_and_all_inside():
    inner = rnvp.networks.MLP(2, [3])
    outer = rnvp.networks.TanhScale(inner)
    assert {id(layer) for layer in (outer, inner, *inner.dense)} <= {id(layer) for layer in internals.sublayers(outer)}


def test_watched_variables_are_those_that_are_read():
    read, other = tf.Variable(1.0), tf.Variable(2.0)
    result, watched = internals.watched_variables(lambda: read + 1.0)
    assert result == 2.0 and [v is read for v in watched] == [True] and other == 2.0


def test_the_tapes_that_listen_are_known():
    x, listening = tf.constant(1.0), internals.listening_tapes
    assert listening() == ()
    with tf.GradientTape() as outer:
        begun = listening()
        outer.watch(x)
        watching = listening()
        with tf.GradientTape(), tf.autodiff.ForwardAccumulator(x, x):
            assert len(listening()) == 3 and listening()[0] == watching[0]
        assert listening() == watching != begun and len(begun) == 1
        with outer.stop_recording():
            assert listening() == ()
        assert listening() not in ((), begun, watching)
        outer.watch(tf.Variable(1.0))
        watching = listening()
        outer.reset()
        assert len(listening()) == 1 and listening() != watching
    outer.watch(x)
    assert listening() == ()
    with tf.GradientTape() as next_one:
        assert listening() != watching
        next_one.gradient(x, x)  # ends the tape
        assert listening() == ()


def test_the_tapes_of_a_thread_are_its_own():
    seen = []
    with tf.GradientTape():
        thread = threading.Thread(target=lambda: seen.append(internals.listening_tapes()))
        thread.start()
        thread.join()
    assert seen == [()]


def test_every_log_prob_of_a_transformed_distribution_is_prepared(monkeypatch):
    scale, seen = tfp.bijectors.Scale(2.0), []
    owner = next(cls for cls in type(distribution(scale)).__mro__ if "experimental_local_measure" in vars(cls))
    monkeypatch.setattr(owner, "experimental_local_measure", owner.experimental_local_measure)
    internals.before_log_prob(lambda d, x: (seen.append(d.bijector is scale), x + 1.0)[1])
    for d in (distribution(scale), tfp.distributions.Sample(distribution(scale), [1])):
        np.testing.assert_allclose(tf.squeeze(d.log_prob([1.0])), -0.5 - np.log(2 * np.sqrt(2 * np.pi)), rtol=1e-6)
    assert seen == [True, True]


def distribution(bijector):
    return tfp.distributions.TransformedDistribution(tfp.distributions.Normal(0.0, 1.0), bijector)


def test_a_merge_of_one_replica_calls_the_function():
    called = []
    internals.merge_replicas(lambda strategy, argument: called.append(argument), 3)
    assert called == [3]


def test_eager_tensors_and_graphs_of_functions_have_their_types():
    assert isinstance(tf.constant(1.0), internals.EagerTensor)
    graph = tf.function(lambda: tf.constant(1.0)).get_concrete_function().graph
    assert isinstance(graph, internals.FuncGraph)


def test_fit_neither_reads_a_batch_too_many_nor_checks_validation_data_twice(eagerly, monkeypatch):
    model = rnvp.VectorRealNVP((2,), num_couplings=1, hidden_units=(2,), norm=None, seed=0)
    model.compile(run_eagerly=True)
    read, checked = [], []

    def points():
        read.append(1)
        yield np.zeros([2, 2], np.float32)

    check = type(model.events).checked
    spy = lambda self, *args: (checked.append(args[0]), check(self, *args))[1]
    monkeypatch.setattr(type(model.events), "checked", spy)
    data = tf.data.Dataset.from_generator(points, output_signature=tf.TensorSpec([None, 2]))
    model.fit(data, epochs=2, steps_per_epoch=1, validation_data=np.zeros([2, 2], np.float32), verbose=0)
    assert checked == ["x", "validation_data"]
    assert internals.TrainerHooks.CACHED_EVALUATION in inspect.getsource(keras.Model.fit)


class Monitored(keras.Model):
    metrics = [internals.lower_is_better("bits")]


def test_callbacks_read_the_direction_of_a_compiled_metric():
    stopping = keras.callbacks.EarlyStopping(monitor="val_bits")
    stopping.set_model(Monitored())
    stopping.on_epoch_end(0, {"val_bits": 1.0})
    assert stopping.monitor_op is keras.ops.less
    assert Monitored.metrics[0].variables == []
    Monitored.metrics[0].reset_state()


HOOKS = ("clip_gradients", "sum_gradients", "learning_rate_now", "update_averages", "update_variables")


def test_adam_clips_updates_and_averages_by_the_public_hooks(eagerly):
    called = []

    class Spy(rnvp.optimizers.Adam):
        pass

    for name in HOOKS:

        def hook(self, *args, name=name):
            called.append(name)
            return getattr(super(Spy, self), name)(*args)

        setattr(Spy, name, hook)
    weight = keras.Variable([1.0, 2.0])
    optimizer = Spy(0.1, global_clipnorm=1.0, use_ema=True)
    optimizer.build([weight])
    optimizer.apply([tf.constant([3.0, 4.0])], [weight])
    assert set(called) == set(HOOKS)
    mean, square = optimizer.moments_of_gradient(weight)
    np.testing.assert_allclose(mean, [0.06, 0.08], rtol=1e-5)  # (1 − β₁) times the gradient of norm 1
    np.testing.assert_allclose(square, [0.00036, 0.00064], rtol=1e-3)
    assert len(optimizer.averages()) == 1


def test_all_bijectors_of_tfp_share_the_stateful_cache():
    cache = tfp.bijectors.Exp()._cache
    assert type(cache).__name__ == "StatefulCache" and isinstance(cache, internals.BijectorCache)
    x = tf.constant([1.0, 2.0])
    exp = tfp.bijectors.Exp()
    y = exp.forward(x)
    assert exp.inverse(y) is x
