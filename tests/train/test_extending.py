"""The page on new families: its files, unchanged, train and obey the laws."""

import importlib
import json
import pathlib
import re
import sys

import numpy as np
import pytest

from tests import laws
from train import models, train

PAGE = pathlib.Path(__file__).parents[2] / "docs/extending.md"


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    """The page's code by heading; its named files are written to a folder on the import path."""
    folder, text = tmp_path_factory.mktemp("extending"), PAGE.read_text()
    code = re.findall(r"^## (.*?)\n.*?^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for title, block in code:
        name = re.search(r"`(\w+\.py)`", title)
        if name:
            (folder / name[1]).write_text(block)
    sys.path.insert(0, str(folder))
    yield dict(code)
    sys.path.remove(str(folder))


def test_the_config_trains_the_family(blocks, tmp_path):
    config = importlib.import_module("spline_moons").get_config()
    config.update(epochs=1, steps_per_epoch=30, batch_size=64, samples_every=1, test_split="test[:200]")
    config.model.update(num_couplings=2, hidden_units=(16,), num_knots=4)
    train.train_and_evaluate(config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["step"] == 30 and result["loss"] < 2.5  # nats; 2.84 for the standard normal of the beginning
    model = models.load_model(config, tmp_path, "model.keras", None)
    assert type(model).__name__ == "SplineFlow"


@pytest.fixture(scope="module")
def cases(blocks):
    line = blocks["One line in the laws"].strip().rstrip(",")
    names = {"SplineFlow": importlib.import_module("spline_flow").SplineFlow, "flow": laws.flow}
    (_, make), *_ = eval("{" + line + "}", names).items()
    return {dtype: laws.Case(*make(dtype), dtype) for dtype in ("float32", "float64")}


@pytest.mark.parametrize("law", laws.OF_VALUES, ids=lambda law: law.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_line_obeys_the_laws_of_values(cases, dtype, law):
    law(cases[dtype])


@pytest.mark.parametrize("law", laws.OF_THE_INTERFACE, ids=lambda law: law.__name__)
def test_the_line_obeys_the_laws_of_the_interface(cases, law):
    law(cases["float64"])


def test_the_family_can_be_conditioned_on_a_class(blocks, eagerly):
    flow = importlib.import_module("spline_flow").SplineFlow((2,), num_classes=3, num_couplings=2, seed=0)
    points, labels = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32), np.arange(30) % 3
    flow.compile()
    flow.fit(points, labels, verbose=0)
    assert flow.sample(6, labels=2, seed=0).shape == (6, 2)
    np.testing.assert_allclose(flow.decode(flow.encode(points, labels), labels), points, atol=1e-4)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
