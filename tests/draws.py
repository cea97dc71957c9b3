"""The draws of trained flows at several temperatures: how many are not finite at first, and are drawn again.

  python -m tests.draws --steps=1000

trains a flow of each family of images on the digits and prints a line per family. Where no attempt gives an image for a
draw, the flow refuses that temperature.
"""

import argparse
import re
import time
import warnings

import numpy as np
import sklearn.datasets

import tests.conftest  # noqa: F401  whose settings are those of every process of the tests
import tfp_realnvp as rnvp

SHAPE = dict(event_shape=(8, 8, 1), num_bins=17, seed=0)
FLOWS = {
    "RealNVP": lambda: rnvp.RealNVP(num_scales=2, filters=16, num_blocks=1, **SHAPE),
    "Glow": lambda: rnvp.Glow(num_scales=2, steps_per_scale=4, filters=32, **SHAPE),
    "NICE": lambda: rnvp.NICE(hidden_units=[128, 128], **SHAPE),
    "SubpixelFlow": lambda: rnvp.SubpixelFlow(num_scales=2, filters=16, num_blocks=1, **SHAPE),
    "SubpixelFlow, refined": lambda: rnvp.SubpixelFlow(
        num_scales=2, filters=16, num_blocks=1, refining_scales=1, refining_steps=2, refining_filters=16, **SHAPE
    ),
    "UvA": lambda: rnvp.UvA(multi_scale=True, filters=16, num_blocks=1, **SHAPE),
}
TEMPERATURES = (1.0, 1.5, 2.0)


def drawn_again(model, number, temperature):
    """How many of the draws were not finite at first; "refused" where one is lost."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            images = model.sample(number, temperature=temperature, seed=0)
        except ValueError:
            return "refused"
    assert images.shape == (number, 8, 8, 1) and images.dtype == np.uint8
    counts = [re.match(r"(\d+) of \d+ samples were not finite", str(warning.message)) for warning in caught]
    return sum(int(count.group(1)) for count in counts if count)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    arguments = parser.parse_args()
    images = sklearn.datasets.load_digits().images[..., None].astype("uint8")
    epochs = -(-arguments.steps * 64 // len(images))
    for name, make in FLOWS.items():
        model, start = make(), time.time()
        model.compile()
        history = model.fit(images, batch_size=64, epochs=epochs, verbose=0)
        bits = history.history["bits_per_dim"][-1]
        counts = [f"{temperature}: {drawn_again(model, arguments.draws, temperature)}" for temperature in TEMPERATURES]
        print(
            f"{name}: {bits:.3f} bits/dim after {epochs} epochs, {time.time() - start:.0f} s; "
            f"drawn again of {arguments.draws} at temperature " + ", ".join(counts),
            flush=True,
        )


if __name__ == "__main__":
    main()
