"""The installed program: its packages, and its command from a folder without the source."""

import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
EXTRAS = PROJECT["project"]["optional-dependencies"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the packages of the wheel, as links."""
    folder = tmp_path_factory.mktemp("site")
    for name in SETUPTOOLS["packages"]:
        if "." not in name:
            (folder / name).symlink_to(ROOT / SETUPTOOLS["package-dir"].get(name, name))
    return folder


def run(installed, folder, code, *arguments):
    """Runs code in an empty folder, with the installed packages alone."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def run_command(installed, folder, *arguments):
    """Runs the command `tfp-realnvp`, as the script of the wheel does."""
    module, _, function = PROJECT["project"]["scripts"]["tfp-realnvp"].partition(":")
    return run(installed, folder, f"from {module} import {function}; {function}()", *arguments)


def test_the_wheel_has_every_package_and_none_called_train(installed):
    found = {
        ".".join(path.parent.relative_to(installed).parts)
        for package in installed.iterdir()
        for path in package.resolve().rglob("__init__.py")
        for path in [package / path.relative_to(package.resolve())]
    }
    assert {*SETUPTOOLS["packages"]} == found
    assert {path.name for path in installed.iterdir()} == {"tfp_realnvp", "tfp_realnvp_train"}
    for path in (ROOT / "train").rglob("*.py"):
        assert (path.parent / "__init__.py").exists()


def test_the_wheel_has_every_file_that_the_program_reads():
    listed = SETUPTOOLS["package-data"]
    assert {path.name for path in (ROOT / "train").rglob("*.html")} == {*listed["tfp_realnvp_train.reporting"]}
    assert all((ROOT / "train/reporting" / name).is_file() for name in listed["tfp_realnvp_train.reporting"])


def test_the_wheel_has_every_pretrained_model():
    patterns = SETUPTOOLS["package-data"]["tfp_realnvp"]
    packed = {path for pattern in patterns for path in (ROOT / "tfp_realnvp").glob(pattern)}
    weights = {*(ROOT / "tfp_realnvp/weights").iterdir()}
    assert len(weights) > 2 and weights <= packed


def names(requirements):
    """The names of packages that requirements begin with."""
    return {re.match(r"[\w-]+", line)[0] for line in requirements if re.match(r"\w", line)}


def pinned(*files):
    return set().union(*(names((ROOT / file).read_text().splitlines()) for file in files))


def test_every_requirement_of_the_project_is_pinned():
    needed = [*PROJECT["project"]["dependencies"], *EXTRAS["dev"]]
    assert names(needed) == pinned("requirements.txt", "requirements-wheel.txt")
    assert names(EXTRAS["docs"]) == pinned("requirements-docs.txt")
    assert names(EXTRAS["bench"]) == pinned("requirements-bench.txt")


def test_the_oldest_versions_are_the_bounds_of_the_project():
    lines = (ROOT / "requirements-oldest.txt").read_text().splitlines()
    oldest = dict(line.split("==") for line in lines if "==" in line)
    assert names(PROJECT["project"]["dependencies"]) <= {*oldest}
    bounds = dict(line.split(">=") for line in PROJECT["project"]["dependencies"] if ">=" in line)
    assert bounds and all(f"{oldest[name]}.".startswith(f"{bound}.") for name, bound in bounds.items())


@pytest.mark.parametrize("file", ["MODULE.bazel", "CITATION.cff", "CHANGELOG.md"])
def test_every_file_has_the_version_of_the_package(file):
    version = re.search(r'__version__ = "(.*)"', (ROOT / "tfp_realnvp/__init__.py").read_text())[1]
    written = re.search(r'^(?: *version[ =:"]+|## )(\d+\.\d+\.\d+)', (ROOT / file).read_text(), re.MULTILINE)
    assert written[1] == version


def test_train_is_no_module_of_the_wheel(installed, tmp_path):
    done = run(installed, tmp_path, "import train")
    assert done.returncode == 1 and "No module named 'train'" in done.stderr


def test_the_help_names_the_command_that_was_called(installed, tmp_path):
    out = run_command(installed, tmp_path, "--help").stdout
    assert "  tfp-realnvp --mode=evaluate" in out and "python -m" not in out
    modes = "|anomalies|complete|compress|decompress|probe|doctor>"
    assert "--workdir" in out and modes in "".join(out.split())  # absl breaks lines.


@pytest.mark.parametrize("config", ["train/configs/moons.py", "moons.py", "moons", "own/moons.py"])
def test_configs_are_found_from_any_folder(config, installed, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "moons").mkdir()  # a folder of pictures, say
    (tmp_path / "own/moons.py").write_text(
        "from train.configs import moons\n"
        "def get_config():\n    config = moons.get_config()\n    config.batch_size = -3\n    return config\n"
    )
    size = -3 if config.startswith("own") else 256
    code = (
        "import sys, absl.flags; from tfp_realnvp_train import main\n"
        "main.parse_flags(sys.argv); print(absl.flags.FLAGS.config.batch_size, 'tensorflow' in sys.modules)"
    )
    done = run(installed, tmp_path, code, f"--config={config}")
    assert done.stdout == f"{size} False\n", done.stderr


def test_an_unknown_config_is_answered_with_the_names_of_all(installed, tmp_path):
    done = run_command(installed, tmp_path, "--config=train/configs/mons.py")
    assert done.returncode == 1
    assert "tfp_realnvp_train/configs: breast_cancer.py, breast_cancer_ffjord.py, celeb_a.py, " in done.stderr
    assert "__init__" not in done.stderr


def test_the_command_runs_the_program(installed, tmp_path):
    done = run_command(installed, tmp_path, "--config=moons.py", "--mode=evaluate")
    message = (
        "error: workdir must hold a trained model; there is no runs/moons/model.keras. Train one with --mode=train"
    )
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == message
    assert "I0000" not in done.stderr and "InitializeLog" not in done.stderr
    assert not [*tmp_path.iterdir()]


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
