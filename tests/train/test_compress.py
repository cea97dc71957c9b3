"""A folder of pictures in one archive, and back."""

import numpy as np
import PIL.Image
import pytest

import tfp_realnvp as rnvp
from tests.train.tiny_runs import tiny
from train import compress, data

pytestmark = pytest.mark.usefixtures("module_eagerly")


@pytest.fixture(scope="module")
def config():
    return tiny(evaluation=dict(batch_size=4))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    options = dict(num_bins=17, num_scales=1, filters=2, num_blocks=1, num_components=2, seed=0)
    rnvp.SubpixelFlow((8, 8, 1), **options).save(workdir / "model.keras")
    return workdir


@pytest.fixture(scope="module")
def pictures(config, tmp_path_factory):
    """Three digits, one of them below a folder and in another format."""
    folder = tmp_path_factory.mktemp("pictures")
    digits = np.stack(list(data.load(config, "test[:3]").dataset.as_numpy_iterator()))
    (folder / "b").mkdir()
    for name, digit in zip(("a.png", "b/c.bmp", "d.PNG"), digits, strict=True):
        PIL.Image.fromarray(digit[..., 0]).save(folder / name)
    return folder, digits


def test_pictures_come_back_with_their_names(config, workdir, pictures, capsys):
    folder, digits = pictures
    assert compress.compress_folder(config, workdir, folder) == workdir / "pictures.rnvp"
    assert f"3 pictures in {(workdir / 'pictures.rnvp').stat().st_size} bytes" in capsys.readouterr().out
    target = compress.decompress_folder(config, workdir, None)
    for name, digit in zip(("a.png", "b/c.bmp.png", "d.PNG"), digits, strict=True):
        np.testing.assert_array_equal(np.asarray(PIL.Image.open(target / name)), digit[..., 0])
    assert sum(path.is_file() for path in target.rglob("*")) == 3


def test_an_archive_never_lacks_a_picture(config, workdir, pictures, tmp_path):
    PIL.Image.fromarray(pictures[1][0, :4, :, 0]).save(tmp_path / "small.png")
    PIL.Image.fromarray(pictures[1][0, ..., 0]).save(tmp_path / "fits.png")
    with pytest.raises(
        ValueError, match=r"data_dir must hold pictures that fit the model; 1 do not, such as .*small.png"
    ):
        compress.compress_folder(config, workdir, tmp_path)


def test_names_stay_below_the_folder(config, workdir, pictures, tmp_path):
    model = rnvp.load_model(workdir / "model.keras")
    model.save(tmp_path / "model.keras")
    data = rnvp.compression.Codec(model, 4).compress(pictures[1][:1], names=["../outside.png"], verify=False)
    (tmp_path / "pictures.rnvp").write_bytes(data)
    with pytest.raises(ValueError, match=r"must be of files below the folder; got '../outside.png'"):
        compress.decompress_folder(config, tmp_path, None)
    assert not (tmp_path / "decompressed").exists()


def test_no_picture_takes_the_place_of_another(config, workdir, pictures, tmp_path):
    for name in ("a.bmp", "a.bmp.png"):
        PIL.Image.fromarray(pictures[1][0, ..., 0]).save(tmp_path / name)
    with pytest.raises(ValueError, match="names must differ as PNG files; two would be 'a.bmp.png'"):
        compress.compress_folder(config, workdir, tmp_path)


def test_missing_and_unfit_parts_are_named(config, workdir, pictures, tmp_path):
    rnvp.NICE((8, 8, 1), hidden_units=[2], num_bins=17, seed=0).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="workdir must hold pictures.rnvp, of --mode=compress; there is none in"):
        compress.decompress_folder(config, tmp_path, None)
    with pytest.raises(ValueError, match="model must have exact probabilities of its levels for a codec"):
        compress.compress_folder(config, tmp_path, pictures[0])
    model = rnvp.load_model(workdir / "model.keras")
    with pytest.raises(ValueError, match="names must be None or as many as the images, 3; got 1"):
        rnvp.compression.Codec(model, 4).compress(pictures[1], names=["a"])
