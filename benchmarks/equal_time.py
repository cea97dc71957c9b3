"""Trains this package's image flows for equal times, draws their curves and evaluates them on test images.

  python -m benchmarks.equal_time --dataset=mnist --data_dir=DIR --seconds=300 --out=docs/figures/equal_time_mnist.png

A flow has the model and the optimizer of its config, and each has a process of its own. The clock starts at the first
step, after the graph is made. The learning rate falls linearly in the second half, for all flows alike. A curve shows
the training's bits/dim, which are a bound for all flows but the exact one. Where the machine has no instructions for
bfloat16, all networks are in float32.
"""

from absl import app, flags

from benchmarks import report, workers
from benchmarks.peers import Maker
from benchmarks.timed_training import FLOWS, draw

_DATASET = flags.DEFINE_enum("dataset", "cifar10", list(FLOWS), "Data set of TFDS.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TFDS's data sets; default: TFDS's own.")
_SECONDS = flags.DEFINE_integer("seconds", 300, "Seconds of training of each flow.", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 2, "Threads of each training.", lower_bound=1)
_TEST = flags.DEFINE_string("test_split", "test[:1000]", "Split of the data set for the last evaluation.")
_ONLY = flags.DEFINE_list("only", [], "Names of flows; default: all.")
_OUT = flags.DEFINE_string("out", "benchmarks/results/equal_time.png", "Picture of the curves.")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; every setting is a flag, such as --seconds=60")
    flows = FLOWS[_DATASET.value]
    if set(_ONLY.value) - set(flows):
        raise app.UsageError(f"--only must name some of {', '.join(flows)}; got {_ONLY.value}")
    workers.set_environment(_THREADS.value)
    with workers.Worker(Maker("peers.ours:Precision")) as worker:
        in_float32 = worker.call("is_emulated")
    results = {}
    for name in _ONLY.value or flows:
        config, options = flows[name]
        options = dict(config=config, options=options, dataset=_DATASET.value, in_float32=in_float32)
        maker = Maker("timed_training:Training", options)
        with workers.Worker(maker) as worker:
            results[name] = worker.call("result", _DATA_DIR.value, _TEST.value, _SECONDS.value)
        row = {"flow": name, **{key: value for key, value in results[name].items() if key != "curve"}}
        print("\n".join(report.table([row])), flush=True)
    draw({name: result["curve"] for name, result in results.items()}, _OUT.value)
    rows = [{"flow": name, **result, "curve": [*result["curve"].items()]} for name, result in results.items()]
    print("\n".join(report.table(rows)))


if __name__ == "__main__":
    app.run(main)
