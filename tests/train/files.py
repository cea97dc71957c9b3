"""The contents of a run's files."""

import io
import zipfile

import h5py


def arrays_of(path):
    """All arrays of a .keras file, including the optimizer's, by their place in the model."""
    arrays = {}
    keep = lambda name, item: arrays.update({name: item[()]} if isinstance(item, h5py.Dataset) else {})
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(keep)
    return arrays
