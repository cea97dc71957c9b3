"""Threads that use the same flows at once: every answer must equal the answer of one thread alone.

  python -m tests.soak --seconds=300

calls the methods of every family, and the signatures of its SavedModel, from eight threads. It ends with an error for a
wrong answer, for memory that grows, and for a graph with TensorFlow's unsafe fusion (see `threads.unfused`).
"""

import argparse
import collections
import pathlib
import random
import re
import resource
import tempfile
import threading
import time

import numpy as np
import tensorflow as tf

import tests.conftest  # noqa: F401  whose settings are those of every process of the tests
import tfp_realnvp as rnvp
from tests import families
from tests.laws import randomize_weights

THREADS, BATCH = 8, 16
BATCH_MOMENTS = "batch moments"  # These calls are in training mode and wait for each other; they keep the fusion.


def calls_of(name, make, folder):
    """Name ↦ function without arguments, for every method and signature of a flow that gives answers."""
    model = make()
    model.compile()
    randomize_weights(model.weights)
    labels = np.arange(BATCH) % model.num_classes if model.num_classes else None
    vectors = model.context_size and not model.num_classes
    context = np.random.default_rng(1).normal(size=[BATCH, model.context_size]).astype("float32") if vectors else None
    given = {"labels": labels, "context": context}
    y = labels if context is None else context
    of_y = [] if y is None else [y]
    x = model.sample(BATCH, temperature=0.5, seed=0, **given)
    z = model.encode(x, *of_y)
    distribution = model.distribution_given(*of_y)
    floats = tf.cast(x, model.events.dtype) + (0.5 if model.num_bins else 0.0)
    calls = {
        "predict": lambda: model.predict(x, verbose=0, **given),
        "predict_on_batch": lambda: model.predict_on_batch(x, **given),
        "evaluate": lambda: model.evaluate(x, y, verbose=0),
        "test_on_batch": lambda: model.test_on_batch(x, y),
        "log_likelihood": lambda: model.log_likelihood(x, *of_y),
        BATCH_MOMENTS: lambda: rnvp.evaluation.log_likelihood(model, (x, y), batch_moments=True),
        "encode": lambda: model.encode(x, *of_y),
        "decode": lambda: model.decode(z, *of_y),
        "sample": lambda: model.sample(BATCH, temperature=0.5, seed=0, **given),
        "log_prob": lambda: distribution.log_prob(tf.identity(floats)),
    }
    if model.num_classes:
        calls["class_probabilities"] = lambda: model.class_probabilities(x)
    path = pathlib.Path(folder) / name / "1"
    model.export(path)
    served = tf.saved_model.load(str(path))
    of_y = [tf.constant(value) for value in of_y]
    answer = lambda signature, *arguments: np.concatenate(
        [np.ravel(value) for _, value in sorted(signature(*arguments).items())]
    )
    calls["served log_prob"] = lambda: answer(served.log_prob, tf.constant(x), *of_y)
    calls["served encode"] = lambda: answer(served.encode, tf.constant(x), *of_y)
    calls["served decode"] = lambda: answer(served.decode, tf.constant(z), *of_y)
    calls["served sample"] = lambda: answer(served.sample, BATCH, 0.5, 0, *of_y)
    return {f"{name}: {call}": function for call, function in calls.items()}


def alone(flows, folder):
    """The functions of all flows by their names, and their answers in one thread alone."""
    calls = {call: function for name, make in flows.items() for call, function in calls_of(name, make, folder).items()}
    return calls, {name: np.asarray(call()) for name, call in calls.items() if BATCH_MOMENTS not in name}


def unsafe_fusions(function):
    """Calls `function`; returns its result, and the fusions with an addition in the graphs that TensorFlow ran."""
    found = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        writer = tf.summary.create_file_writer(folder)
        tf.summary.trace_on(graph=True)
        result = function()
        with writer.as_default():
            tf.summary.trace_export("graphs", step=0)
        writer.close()
        for path in pathlib.Path(folder).iterdir():
            events = map(tf.compat.v1.Event.FromString, tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
            for value in (value for event in events for value in event.summary.value):
                metadata = tf.compat.v1.RunMetadata.FromString(value.tensor.string_val[0])
                for functions in metadata.function_graphs:
                    for node in nodes_of(functions.post_optimization_graph):
                        operations = [*node.attr["fused_ops"].list.s]
                        if b"BiasAdd" in operations and {b"Add", b"AddV2"} & {*operations}:
                            found[node.op] += 1
    return result, found


def nodes_of(graph):
    """The nodes of a graph and of the functions in its library."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def memory():
    """The memory of this process in MB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def soak(calls, expected, seconds):
    """Calls the functions at random from eight threads; returns the number of calls, and the wrong answers."""
    end, counts, wrong = time.time() + seconds, collections.Counter(), []

    def client(number):
        names = [*calls]
        while time.time() < end:
            name = random.Random(f"{number} {counts[number]}").choice(names)
            try:
                np.testing.assert_allclose(np.asarray(calls[name]()), expected[name], rtol=1e-5, atol=1e-5)
            except Exception as error:  # An error of a call is a wrong answer, too.
                wrong.append((name, str(error)))
            counts[number] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts.total(), wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--flows", default="", help="a regular expression, for the names of the flows to call")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        flows = {name: make for name, make in families.flows("trained").items() if re.search(arguments.flows, name)}
        (calls, expected), fusions = unsafe_fusions(lambda: alone(flows, folder))
        expected.update({name: np.asarray(call()) for name, call in calls.items() if name not in expected})
        print(f"{len(calls)} kinds of calls; {fusions.total()} unsafe fusions {dict(fusions)}", flush=True)
        warmed_up, wrong = soak(calls, expected, arguments.seconds / 2)
        before = memory()
        count, more = soak(calls, expected, arguments.seconds / 2)
        wrong += more
        grown = memory() - before
    print(f"{warmed_up + count} calls, {len(wrong)} wrong; memory grew by {grown:.0f} MB from {before:.0f} MB")
    for name, answers in sorted(collections.Counter(name for name, _ in wrong).items()):
        print(f"  {name}: {answers} wrong, such as: {next(error for other, error in wrong if other == name)}")
    if fusions or wrong or grown > 0.05 * before:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
