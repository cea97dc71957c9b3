"""The report on a machine, with nothing and with something that fails."""

import importlib.metadata

import pytest

import tfp_realnvp as rnvp
from train import doctor

pytestmark = pytest.mark.usefixtures("eagerly")


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_a_machine_that_works_is_described(capsys):
    assert doctor.examine()
    *found, last = lines(capsys)
    assert [line[:24].strip() for line in found] == [check.name for check in doctor.CHECKS]
    report = {line[:24].strip(): line[24:] for line in found}
    assert report["tensorflow"].startswith(importlib.metadata.version("tensorflow"))
    assert report["tfp_realnvp"] == rnvp.__version__
    assert report["bfloat16"].startswith(("native", "emulated", "cannot be computed"))
    assert report["inversion"] == "1024 of 1024 pixels return from their latents"
    assert last == "all is well"


def test_what_fails_is_followed_by_what_to_do_and_the_other_checks_go_on(capsys, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device", "flow.keras")

    monkeypatch.setattr(rnvp, "load_model", full)
    assert not doctor.examine()
    found = lines(capsys)
    (number,) = (i for i, line in enumerate(found) if "FAILED" in line)
    assert found[number].startswith("saving and loading      FAILED: OSError: [Errno 28] No space left on device")
    assert found[number + 1].strip().startswith("remedy: make room in the temporary folder")
    assert found[number + 2].startswith("inversion               1024 of 1024")
    assert found[-1] == "failed: saving and loading"


def test_versions_are_compared_with_the_tested_ones(monkeypatch, tmp_path):
    installed = importlib.metadata.version("keras")
    monkeypatch.setattr(doctor, "REQUIREMENTS", tmp_path / "requirements.txt")
    assert doctor._version("keras") == installed  # a wheel has no such file
    for text, expected in (
        (f"# of Keras\nkeras=={installed}  # it\n", f"{installed}, the tested version"),
        ("keras==1.0", f"{installed}; tested is 1.0"),
        (f'keras==1.0; python_version < "3"\nkeras=={installed}; python_version > "3"', "the tested version"),
    ):
        doctor.REQUIREMENTS.write_text(text)
        assert expected in doctor._version("keras")
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        doctor._version("no-such-package")


def test_a_flow_that_does_not_learn_or_return_fails(capsys, monkeypatch):
    model = doctor._trained()
    monkeypatch.setattr(model.history, "history", {"bits_per_dim": [3.0, 2.0, 3.5]})
    monkeypatch.setattr(rnvp.Glow, "decode", lambda self, z: doctor._images() + 1)
    assert not doctor.examine()
    out = capsys.readouterr().out
    assert "ArithmeticError: the loss must fall; it went from 3.0000 to 3.5000 bits/dim" in out
    assert "ArithmeticError: 1024 of 1024 pixels must not change" in out
    assert "failed: a tiny flow: training, inversion" in out


@pytest.mark.parametrize("works", [True, False])
def test_the_exit_code_says_whether_all_is_well(works, command_line, monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda: works)
    with pytest.raises(SystemExit) as stopped:
        command_line("--mode=doctor")
    assert stopped.value.code == (0 if works else 1)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
