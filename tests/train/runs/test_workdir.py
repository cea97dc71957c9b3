"""One run per workdir, and files that are replaced as a whole."""

import json
import os
import socket

import numpy as np
import pytest

from train.configs import default
from train.figures import panels
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


@pytest.mark.parametrize("name", ["lock", "draft.config.json"])
def test_a_link_in_the_way_is_not_followed(name, tmp_path):
    target, folder = tmp_path / "target", tmp_path / "run"
    target.write_text("of another")
    folder.mkdir()
    (folder / name).symlink_to(target)
    if name == "lock":
        with pytest.raises(OSError, match="lock"), workdir.only_run_in(folder):
            pass
    else:
        workdir.write_json(folder / "config.json", {"a": 1})
        assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert target.read_text() == "of another"


@pytest.mark.parametrize("size", [0, 5])
def test_what_does_not_fit_on_the_disk_is_named_and_leaves_the_old_one(size, tmp_path, small_disk):
    path = tmp_path / "file.png"
    path.write_bytes(b"old")
    writers = (
        lambda: workdir.write_json(path, {"a": 1}),
        lambda: panels.save_png(np.zeros([4, 4, 3], np.uint8), path),
    )
    for write in writers:
        with pytest.raises(OSError, match=f"File too large: '{path}'"), small_disk(size):
            write()
        assert path.read_bytes() == b"old" and [file.name for file in tmp_path.iterdir()] == ["file.png"]


def test_a_lock_that_does_not_fit_on_the_disk_is_named(tmp_path, small_disk):
    with pytest.raises(OSError, match="File too large: '.*lock'"), small_disk(0), workdir.only_run_in(tmp_path):
        pass


@pytest.mark.parametrize("text", [b"", b'{"seed": 0', b"[1]", b"\xff\xfe", b"\0" * 9, b"[" * 100_000])
def test_a_damaged_file_is_named(text, tmp_path):
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(ValueError, match=f"{tmp_path}/config.json is damaged .*bring it back from a copy"):
        workdir.check_workdir(default.get_config(), tmp_path)


def test_a_fifo_in_the_way_is_not_waited_for(tmp_path):
    for name in ("config.json", "draft.config.json", "lock"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match="config.json must be a regular file"):
        workdir.check_workdir(default.get_config(), tmp_path)
    with pytest.raises(OSError, match="lock"), workdir.only_run_in(tmp_path):
        pass
    workdir.write_json(tmp_path / "config.json", {"a": 1})
    assert workdir.read_json(tmp_path / "config.json") == {"a": 1}


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
