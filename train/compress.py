"""A folder of pictures in one archive, by the probabilities of the run's model, and back."""

import collections
import math
import os
import pathlib
from collections.abc import Sequence

import ml_collections
import numpy as np
import PIL.Image

import tfp_realnvp as rnvp

from . import checks, models
from .data import folder
from .runs.workdir import new_file

ARCHIVE = "pictures.rnvp"


def compress_folder(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None,
    model_file: str = "model.keras",
) -> pathlib.Path:
    """Writes the pixels of all pictures of a folder into the workdir's pictures.rnvp, with the pictures' paths.

    Args:
      config, workdir, model_file: as for `evaluate.evaluate_model`; `config.evaluation.batch_size` images are coded
        together, and `decompress_folder` needs the same number.
      data_dir: the folder. All pictures anywhere below it must have the shape of the model's images.

    Returns:
      The path of the archive. The file is replaced as a whole.

    Raises:
      ValueError: if the workdir holds no model, or one without exact probabilities, if a picture does not fit it, or if
        two pictures would have the same name as PNG files: an archive never lacks a picture of the folder.
    """
    config, root = checks.check_config(config), folder.find_folder(data_dir)
    paths = folder.picture_paths(root)
    codec = _codec(config, workdir, data_dir, model_file)
    shape, levels = codec.model.event_shape, models.num_levels(codec.model)
    names = [pathlib.Path(path).relative_to(root).as_posix() for path in paths]
    _targets(names)
    images, refused = [], []
    for path in paths:
        try:
            images.append(folder.read_picture(path, shape, levels, config.max_pixels))
        except ValueError as error:
            refused.append(f"{path}: {error}")
    if refused:
        raise ValueError(f"data_dir must hold pictures that fit the model; {len(refused)} do not, such as {refused[0]}")
    data = codec.compress(np.stack(images), names=names)
    with new_file(workdir / ARCHIVE) as file:
        file.write(data)
    bits = 8 * len(data) / (len(images) * math.prod(codec.model.event_shape))
    print(f"{len(images)} pictures in {len(data)} bytes, {bits:.4f} bits/dim, in {workdir / ARCHIVE}")
    return workdir / ARCHIVE


def decompress_folder(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None,
    model_file: str = "model.keras",
) -> pathlib.Path:
    """Writes the pictures of the workdir's pictures.rnvp as PNG files into its folder decompressed/.

    Args:
      config, workdir, model_file: as for `compress_folder`.
      data_dir: see `data.load`; for an official checkpoint alone.

    Returns:
      The folder. A picture that was no PNG file has .png behind its name.

    Raises:
      ValueError: if the workdir holds no model or no archive, or if the archive is damaged or of another model.
    """
    config, path = checks.check_config(config), workdir / ARCHIVE
    if not path.is_file():
        raise ValueError(f"workdir must hold {ARCHIVE}, of --mode=compress; there is none in {workdir}")
    archive = _codec(config, workdir, data_dir, model_file).archive(path.read_bytes())
    target, names = workdir / "decompressed", _targets(archive.names)
    for name, image in zip(names, archive.images(range(len(archive))), strict=True):
        with new_file(target / name) as file:
            PIL.Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    print(f"{len(archive)} pictures in {target}")
    return target


def _targets(names: Sequence[str]) -> list[str]:
    """The names of the PNG files of pictures with these names.

    Raises:
      ValueError: for a name outside of the folder, or two pictures with the same file.
    """
    targets = [name if name.lower().endswith(".png") else f"{name}.png" for name in names]
    count = collections.Counter(targets)
    for name, target in zip(names, targets, strict=True):
        if pathlib.PurePosixPath(name).is_absolute() or ".." in pathlib.PurePosixPath(name).parts:
            raise ValueError(f"the pictures' names must be of files below the folder; got {name!r}")
        if count[target] > 1:
            raise ValueError(f"the pictures' names must differ as PNG files; two would be {target!r}")
    return targets


def _codec(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, data_dir: str | os.PathLike | None, model_file: str
) -> rnvp.compression.Codec:
    model = models.load_model(config, workdir, model_file, data_dir)
    return rnvp.compression.Codec(model, config.evaluation.batch_size)
