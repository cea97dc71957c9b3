"""Compares the package's entropy coder with constriction's, on random decisions: `python -m benchmarks.entropy_coders`.

A lane is an image of 32×32×3 pixels of 256 levels. Both code each lane on its own. A decoder learns the probabilities
block by block, since those of a level's next half depend on the half before: a block holds one decision of each pixel
at one place and of one channel. requirements-bench.txt lists constriction.
"""

import importlib.util
import time

import numpy as np
from absl import app, flags

from benchmarks import report
from tfp_realnvp.compression import ans

BLOCK = 64  # On average: 3 places of 5 scales, 3 channels, 8 halves.

_LANES = flags.DEFINE_integer("lanes", 100, "Images that are coded together.", lower_bound=1)
_DECISIONS = flags.DEFINE_integer("decisions", 32 * 32 * 3 * 8, "Decisions of each image.", lower_bound=1)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; every setting is a flag, such as --lanes=10")
    if importlib.util.find_spec("constriction") is None:
        raise SystemExit("error: constriction is missing: `make .venv/installed-bench` installs it")
    random = np.random.default_rng(0)
    probabilities = random.beta(0.3, 0.3, [_LANES.value, _DECISIONS.value])  # Of False: most decisions are easy.
    decisions = random.random(probabilities.shape) >= probabilities
    ideal = -np.log2(np.where(decisions, 1 - probabilities, probabilities)).sum(axis=1).mean() / 8
    rows = [measured(name, coder, decisions, probabilities) for name, coder in CODERS.items()]
    print(f"{_LANES.value} lanes of {_DECISIONS.value} decisions, {ideal:.1f} bytes by −Σ log2 p each")
    print("\n".join(report.table(rows)))


def measured(name, coder, decisions, probabilities):
    """A row of the table, for a coder as in `CODERS`."""
    encode, decode = coder
    start = time.perf_counter()
    lanes = encode(decisions, probabilities)
    between = time.perf_counter()
    decoded = decode(lanes, probabilities)
    end = time.perf_counter()
    np.testing.assert_array_equal(decoded, decisions)
    return {
        "coder": name,
        "bytes a lane": float(np.mean([lane.nbytes for lane in lanes])),
        "lanes/s, encoded": len(lanes) / (between - start),
        "lanes/s, decoded": len(lanes) / (end - between),
    }


def encode_ours(decisions, probabilities):
    """The lanes of `compression.ans`, without a seal."""
    return ans.encode(decisions, ans.frequency(probabilities), np.zeros(len(decisions), np.uint32))


def decode_ours(lanes, probabilities):
    """The decisions, read one of each lane at a time."""
    decoder = ans.Decoder(lanes)
    return np.stack([decoder.read(column) for column in ans.frequency(probabilities).T], axis=1)


def encode_constriction(decisions, probabilities):
    """The lanes of constriction's ANS coder, a call for each lane."""
    from constriction import stream

    model, lanes = stream.model.Bernoulli(perfect=False), []
    for lane, of_false in zip(decisions.astype(np.int32), probabilities, strict=True):
        coder = stream.stack.AnsCoder()
        coder.encode_reverse(lane, model, 1 - of_false)
        lanes.append(coder.get_compressed())
    return lanes


def decode_constriction(lanes, probabilities):
    """The decisions, read a block of each lane at a time."""
    from constriction import stream

    model, coders = stream.model.Bernoulli(perfect=False), [stream.stack.AnsCoder(lane) for lane in lanes]
    blocks = np.split(1 - probabilities, range(BLOCK, probabilities.shape[1], BLOCK), axis=1)
    read = [[coder.decode(model, row) for coder, row in zip(coders, block, strict=True)] for block in blocks]
    return np.concatenate([np.stack(rows) for rows in read], axis=1) == 1


CODERS = {"compression.ans": (encode_ours, decode_ours), "constriction": (encode_constriction, decode_constriction)}


if __name__ == "__main__":
    app.run(main)
