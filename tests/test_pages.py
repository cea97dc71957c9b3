"""The examples of every page run: the blocks of a page one after another, as a reader would enter them."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

DIGITS = {
    "filters=16": "filters=2",
    "images[:1500]": "images[:16]",
    "images[1500:]": "images[1500:1504]",
    "epochs=10": "epochs=1",
}
TABLE = "model = rnvp.VectorRealNVP((2,), num_couplings=2, hidden_units=[4], seed=0); model.compile(); "
POINTS = "points = np.random.default_rng(0).normal(size=[100, 2]).astype('float32'); "
NICE = "model, images = rnvp.NICE((8, 8, 1), hidden_units=[4], num_bins=17, seed=0), np.zeros([8, 8, 8, 1], 'uint8')"
SUBPIXEL = (
    "rnvp.SubpixelFlow((8, 8, 1), num_scales=2, filters=2, num_blocks=1, num_components=1, num_bins=17, "
    "dequantization='exact', seed=0)"
)

# Each page's texts that shorter ones replace.
SMALLER = {
    "README.md": {**DIGITS, "num_scales=2": "num_scales=1"},
    "docs/attempts.md": {"filters=32, num_blocks=4": "filters=2, num_blocks=1", "[32, 32, 32, 3]": "[2, 32, 32, 3]"},
    "docs/completion.md": {
        "1532": "1501",
        "mask, seed=0": "mask, num_samples=4, num_chains=2, burn_in=20, seed=0",
        "noise=1.0)": "noise=1.0, num_samples=4, num_chains=2, burn_in=20, max_leapfrogs=1)",
    },
    "docs/compression.md": {**DIGITS, "Codec(model)": "Codec(model, 8)"},
    "docs/conditioning.md": {
        "steps_per_scale=8, filters=64": "steps_per_scale=1, filters=2",
        "epochs=5": "epochs=1",
        "epochs=20": "epochs=1",
    },
    "docs/data.md": {"batch(64": "batch(8", "epochs=10": "epochs=1", "epochs=50": "epochs=1"},
    "docs/continuous.md": {
        **{text: short for text, short in DIGITS.items() if text != "images[1500:]"},
        "batch_size=50": "batch_size=8",
        "images[1500:]": "images[1500:1502]",
        "images[:500]": "images[:8]",
        "seed=0)\nmodel.adapt(images": "seed=0, evaluation_tolerance=0.1)\nmodel.adapt(images",
        "points, *_ = toy.eight_gaussians().splits": "points = toy.eight_gaussians().splits",
        '["train"]\n': '["train"][0][:16]\n',
        "test[:1000]": "test[:4]",
        "1e-7": "1e-2",
        "repeat([0, 1], 1000)": "repeat([0, 1], 2)",
    },
    "docs/distributed.md": {"filters=64, num_blocks=8": "filters=2, num_blocks=1", "epochs=10": "epochs=1"},
    "docs/energies.md": {
        "hidden_units=(32, 32)": "num_couplings=2, hidden_units=(4,)",
        "steps=2000": "steps=1",
        "steps=1000": "steps=1",
        "10_000, seed": "64, num_chains=0, seed",
        "sample_chain(1000": "sample_chain(2",
        "sample(64)": "sample(2)",
        "VectorRealNVP((3,),": "VectorRealNVP((3,), num_couplings=2, hidden_units=[4],",
    },
    "docs/families.md": {
        "filters=16": "filters=2",
        "fit(images,": "fit(images[:64],",
        'toy.gaussian_linear().splits["test"]': '(array[:8] for array in toy.gaussian_linear().splits["test"])',
    },
    "docs/labels.md": {"2000": "200", "epochs=60": "epochs=1"},
    "docs/python.md": {"epochs=20": "epochs=1", "filters=64": "filters=2"},
    "docs/pretrained.md": {"Codec(model)": "Codec(model, 8)"},
}

# The code that a page's examples continue.
BEFORE = {
    "docs/anomalies.md": f"{POINTS}{TABLE}held_out = images = points",
    "docs/completion.md": f"subpixel_flow = {SUBPIXEL}; {NICE}; model.save('runs/digits/model.keras'); "
    "y = np.zeros([1, 4, 4, 1]); coarse_images = np.zeros([1, 4, 4, 1], 'uint8')",
    "docs/conditioning.md": "digits, labels = np.zeros([10, 28, 28, 1], 'uint8'), np.arange(10); "
    "parameters, observations = rng.normal(size=[2, 8, 4]).astype('float32'); "
    "parameters, observed = parameters[:, :3], observations[0]; points = np.zeros([4, 2], 'float32')",
    "docs/continuous.md": "own_images = other_images = np.zeros([2, 8, 8, 3], 'uint8')",
    "docs/data.md": f"{POINTS}{TABLE}images = points; "
    "np.savetxt('table.csv', points, delimiter=',', header='a,b', comments='')",
    "docs/families.md": "model = rnvp.VectorRealNVP((3,), context_size=4, num_couplings=2, hidden_units=[4], seed=0); "
    "model.save('runs/gaussian_linear/model.keras')",
    "docs/distributed.md": "images = np.zeros([4, 32, 32, 3], 'uint8')",
    "docs/energies.md": "parameters, observations = rng.normal(size=[2, 100, 4]).astype('float32'); "
    "parameters = parameters[:, :3]",
    "docs/python.md": f"{NICE}; points = np.zeros([4, 2], 'float32'); z = model.encode(images)",
    "docs/serving.md": f"{NICE}; model.save('runs/digits/model.keras')",
}


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


# The blocks of docs/extending.md are parts of files, which tests/train/test_extending.py puts together.
PAGES_WITH_EXAMPLES = [str(page.relative_to(ROOT)) for page in PAGES if page.name != "extending.md" and blocks(page)]


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES)
def test_the_examples_run(page, request, tmp_path, monkeypatch):
    request.getfixturevalue("in_graphs" if page == "docs/completion.md" else "eagerly")  # Chains repeat their steps.
    import numpy as np
    import sklearn.metrics
    import tensorflow as tf
    import tensorflow_probability as tfp

    import tfp_realnvp as rnvp

    monkeypatch.chdir(tmp_path)
    for run in ("digits", "gaussian_linear"):
        (tmp_path / "runs" / run).mkdir(parents=True)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    names = {"np": np, "rnvp": rnvp, "sklearn": sklearn, "tf": tf, "tfb": tfp.bijectors, "tfd": tfp.distributions}
    names["rng"] = np.random.default_rng(0)
    exec(BEFORE.get(page, ""), names)
    code = "\n".join(blocks(ROOT / page))
    for text, shorter in SMALLER.get(page, {}).items():
        assert text in code, text
        code = code.replace(text, shorter)
    exec(compile(code, page, "exec"), names)
    if page in ("docs/conditioning.md", "docs/python.md"):  # The last block is a flow of the reader's own parts.
        model = names["model"]
        model.compile()
        history = model.fit(names["points"], np.ones([4, 4], "float32") if model.context_size else None, verbose=0)
        assert np.isfinite(history.history["loss"]).all()


def test_the_tables_name_pages_with_examples():
    assert {*SMALLER, *BEFORE} <= {*PAGES_WITH_EXAMPLES}


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
