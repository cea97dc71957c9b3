"""One run per workdir, and files that are replaced as a whole."""

import json
import os
import socket

import pytest

from train.configs import default
from train.runs import workdir


def test_one_run_at_a_time_is_let_in(tmp_path):
    folder = tmp_path / "not" / "there"
    for _ in range(2):
        with workdir.only_run_in(folder):
            holder = f"process {os.getpid()} on {socket.gethostname()}"
            with (
                pytest.raises(ValueError, match=rf"{folder} is in use by another run \({holder}\)"),
                workdir.only_run_in(folder),
            ):
                pass
            with workdir.only_run_in(tmp_path / "other"):
                pass


def test_a_run_of_before_a_field_existed_had_its_default(tmp_path):
    config = default.get_config()
    before = json.loads(config.to_json_best_effort())
    del before["max_pixels"]
    workdir.write_json(tmp_path / "config.json", before)
    workdir.check_workdir(config, tmp_path)
    config.max_pixels = 5
    with pytest.raises(ValueError, match=r"another config \(max_pixels = 67108864 there, 5 here\)"):
        workdir.check_workdir(config, tmp_path)


def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    workdir.write_json(path, {"a": 1})
    with monkeypatch.context() as patch, pytest.raises(OSError, match="killed"):
        patch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("killed")))
        workdir.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    workdir.write_json(path, {"a": 3})
    assert json.loads(path.read_text()) == {"a": 3} and [file.name for file in tmp_path.iterdir()] == ["file.json"]


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
