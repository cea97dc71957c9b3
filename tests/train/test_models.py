"""The models that configs and workdirs name."""

import pytest

from tests.train.tiny_runs import Plain, contents, tiny
from train import data, draw, evaluate, models


def test_the_architecture_is_the_configs(plain):
    model = models.new_flow(plain, data.load(plain, "test"))
    assert isinstance(model, Plain) and (model.event_shape, model.num_bins, model.seed) == ((8, 8, 1), 17, 0)


def test_the_data_of_another_model_are_refused(tmp_path):
    models.new_flow(tiny(), data.load(tiny(), "test")).save(tmp_path / "model.keras")
    config = tiny(dataset="moons", test_split="test[:5]")
    with pytest.raises(
        ValueError, match=r"\(8, 8, 1\), 'num_bins': 17.*; dataset 'moons' with .* \(2,\), 'num_bins': None"
    ):
        evaluate.evaluate_model(config, tmp_path)
    message = r"'num_classes': None.*; dataset 'digits' with conditional=True has .*'num_classes': 10"
    with pytest.raises(ValueError, match=message):
        evaluate.evaluate_model(tiny(conditional=True), tmp_path)


@pytest.mark.parametrize(
    "function", [evaluate.evaluate_model, evaluate.recalibrate_model, draw.draw_figures, draw.draw_samples]
)
def test_a_workdir_without_a_model_is_named(tmp_path, function):
    with pytest.raises(ValueError, match="workdir must hold a trained model.*--mode=train") as caught:
        function(tiny(), tmp_path)
    assert str(tmp_path / "model.keras") in str(caught.value)
    assert not contents(tmp_path)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
