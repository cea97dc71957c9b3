"""The tutorials: each runs in a quick form, and is stored with the outputs of its whole form."""

import json
import pathlib
import re

import pytest

TUTORIALS = pathlib.Path(__file__).parents[1] / "docs/tutorials"
# The values of each notebook's cell of parameters for a run of seconds.
QUICK = {
    "first_flow": dict(num_points=256, epochs=1),
    "images": dict(
        num_train=64, num_test=24, epochs=1, num_scales=1, filters=2, num_draws=1, num_samples=3, num_refined=1
    ),
    "tfp_program": dict(
        num_points=256,
        epochs=1,
        num_couplings=2,
        num_results=2,
        num_leapfrog_steps=1,
        num_chains=2,
        num_explorers=0,
        steps=2,
        num_weighted=30,
    ),
    "uses": dict(num_completed=1, num_draws=4, num_test=8),
    "paper_figures": dict(num_train=64, num_test=8, epochs=1, num_scales=1, filters=2, num_draws=1),
}


def cells(name, kind):
    """The cells of a notebook of this kind, without the installation."""
    all_cells = json.loads((TUTORIALS / f"{name}.ipynb").read_text())["cells"]
    return [cell for cell in all_cells if cell["cell_type"] == kind and "skip-execution" not in tags(cell)]


def tags(cell):
    return cell["metadata"].get("tags", [])


def test_every_notebook_has_a_quick_form():
    assert {path.stem for path in TUTORIALS.glob("*.ipynb")} == {*QUICK}


def new_flow(name):
    """A small flow without training, in place of a trained one."""
    import tfp_realnvp as rnvp

    size, num_bins, num_scales = {"digits": (8, 17, 1), "mnist": (28, 256, 2)}[name]
    options = dict(filters=2, num_blocks=1, num_components=1, dequantization="exact", seed=0)
    return rnvp.SubpixelFlow((size, size, 1), num_scales, num_bins=num_bins, **options)


@pytest.mark.parametrize("name", QUICK)
def test_the_quick_form_runs(name, request, monkeypatch):
    from matplotlib import pyplot

    request.getfixturevalue("in_graphs" if name == "uses" else "eagerly")  # "uses" repeats steps more often
    pyplot.switch_backend("agg")
    monkeypatch.setattr(pyplot, "show", lambda: pyplot.close("all"))
    monkeypatch.setattr("tfp_realnvp.pretrained", new_flow)
    monkeypatch.chdir(TUTORIALS)
    names = {}
    for cell in cells(name, "code"):
        exec("".join(cell["source"]), names)
        if "parameters" in tags(cell):
            assert names.keys() >= QUICK[name].keys()
            names.update(QUICK[name])
    assert not pyplot.get_fignums(), "a figure without plt.show()"


@pytest.mark.parametrize("name", QUICK)
def test_the_outputs_are_of_one_whole_run(name):
    code = cells(name, "code")
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    assert (TUTORIALS / f"{name}.ipynb").stat().st_size <= 700_000


@pytest.mark.parametrize("name", QUICK)
def test_every_link_leads_to_a_file(name):
    text = "".join("".join(cell["source"]) for cell in cells(name, "markdown"))
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
        assert (TUTORIALS / target).exists(), target


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
