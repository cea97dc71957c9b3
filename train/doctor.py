"""The state of a machine, and a tiny flow on it: the report that a description of a fault begins with."""

import dataclasses
import functools
import importlib.metadata
import math
import os
import pathlib
import platform
import tempfile
from collections.abc import Callable
from typing import Any

# Nothing else is imported here: a check shows where an import fails.

REQUIREMENTS = pathlib.Path(__file__).parents[1] / "requirements.txt"  # not in a wheel
PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "tf-keras", "numpy")
REINSTALL = "install the tested versions: pip install --requirement requirements.txt"


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
      name: the subject.
      run: returns the findings as a text, and raises an exception where something fails.
      advice: the remedy, if it fails.
    """

    name: str
    run: Callable[[], str]
    advice: str


def examine() -> bool:
    """Prints a line per check, and another one with the advice where a check fails.

    Returns:
      Whether no check has failed.
    """
    failed = []
    for check in CHECKS:
        try:
            found = check.run()
        except Exception as error:  # Anything can be broken here, and the other checks go on.
            reason = (str(error).strip().splitlines() or [""])[0]
            found = f"FAILED: {type(error).__name__}: {reason}\n{'':24}remedy: {check.advice}"
            failed.append(check.name)
        print(f"{check.name:24}{found}", flush=True)
    print(f"failed: {', '.join(failed)}" if failed else "all is well")
    return not failed


def _machine() -> str:
    return f"Python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"


def _instruction_sets() -> str:
    """The CPU's instruction sets that speed up convolutions."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    known = [flag for flag in flags if flag.startswith(("avx", "fma", "amx", "asimd", "sve", "bf16"))]
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return (" ".join(known) or "not known here") + (f"; oneDNN is limited to {limit}" if limit else "")


def _version(package: str) -> str:
    """The installed version, beside the tested one."""
    from packaging.requirements import Requirement

    installed = importlib.metadata.version(package)
    lines = REQUIREMENTS.read_text().splitlines() if REQUIREMENTS.exists() else []
    wanted = [Requirement(text) for line in lines if (text := line.partition("#")[0].strip())]
    for line in wanted:
        if line.name == package and (line.marker is None or line.marker.evaluate()):
            tested = str(line.specifier).removeprefix("==")
            return f"{installed}, the tested version" if installed == tested else f"{installed}; tested is {tested}"
    return installed


def _package() -> str:
    import tfp_realnvp

    return tfp_realnvp.__version__


def _onednn() -> str:
    value = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "TensorFlow's default")
    if value.lower() in ("0", "false"):
        return f"off, by TF_ENABLE_ONEDNN_OPTS={value}: without it convolutions are faster"
    return f"on ({value})"


def _bfloat16() -> str:
    from .runs import precision

    times = precision.slowdown("bfloat16")
    if math.isinf(times):
        return "cannot be computed on this machine: train in float32"
    kind = "emulated: train in float32" if times > precision.EMULATED else "native"
    return f"{kind}; a convolution and its gradients take {times:.1f} times as long as in float32"


def _gpus() -> str:
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(device).get("device_name", device.name) for device in devices]
    if not names and pathlib.Path("/dev/nvidia0").exists():
        return "none, but there is an NVIDIA device: pip install 'tensorflow[and-cuda]'"
    return ", ".join(names) or "none"


def _images() -> Any:
    import numpy as np

    rng = np.random.default_rng(0)  # There is something to learn: the pixels of an image are alike.
    return (rng.integers(0, 14, size=[64, 1, 1, 1]) + rng.integers(0, 4, size=[64, 4, 4, 1])).astype(np.uint8)


@functools.cache
def _trained() -> Any:
    """A tiny flow of images after a few steps of training."""
    import tfp_realnvp as rnvp

    model = rnvp.Glow((4, 4, 1), num_bins=17, num_scales=1, steps_per_scale=1, filters=4, seed=0)
    model.compile(rnvp.optimizers.Adam(0.01))
    model.fit(_images(), batch_size=32, epochs=5, verbose=0)
    return model


def _training() -> str:
    first, *_, last = _trained().history.history["bits_per_dim"]
    if not last < first:
        raise ArithmeticError(f"the loss must fall; it went from {first:.4f} to {last:.4f} bits/dim")
    return f"from {first:.4f} to {last:.4f} bits/dim"


def _file() -> str:
    import numpy as np

    import tfp_realnvp as rnvp

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "flow.keras"
        _trained().save(path)
        again, size = rnvp.load_model(path), path.stat().st_size
    nats, expected = (model.predict(_images(), verbose=0) for model in (again, _trained()))
    if not np.array_equal(nats, expected):
        raise ArithmeticError(f"the loaded flow must give equal answers; they differ by {abs(nats - expected).max()}")
    return f"a file of {size} bytes gives equal answers"


def _inversion() -> str:
    import numpy as np

    images = _images()
    wrong = np.sum(_trained().decode(_trained().encode(images)) != images)
    if wrong:
        raise ArithmeticError(f"{wrong} of {images.size} pixels must not change from data to latents and back")
    return f"{images.size} of {images.size} pixels return from their latents"


CHECKS = (
    Check("machine", _machine, "report it"),
    Check("instruction sets", _instruction_sets, "report it"),
    *(Check(package, functools.partial(_version, package), REINSTALL) for package in PACKAGES),
    Check("tfp_realnvp", _package, REINSTALL),
    Check("oneDNN", _onednn, "report it"),
    Check("bfloat16", _bfloat16, f"train in float32; {REINSTALL}"),
    Check("GPUs", _gpus, "check the driver with nvidia-smi, or set CUDA_VISIBLE_DEVICES=-1 to do without"),
    Check("a tiny flow: training", _training, f"{REINSTALL}; if it fails with them, report this output"),
    Check(
        "saving and loading",
        _file,
        f"make room in the temporary folder, or name another one by TMPDIR; else {REINSTALL}",
    ),
    Check("inversion", _inversion, f"set TF_ENABLE_ONEDNN_OPTS=0, and try again; else {REINSTALL}"),
)
