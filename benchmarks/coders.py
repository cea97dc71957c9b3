"""Image formats and the codec as coders of images, and their comparison, for `compression`."""

import io
import math
import time

import numpy as np
import PIL.Image

import tfp_realnvp as rnvp

FORMATS = {
    "PNG": dict(format="PNG", optimize=True),
    "WebP, lossless": dict(format="WEBP", lossless=True, quality=100, method=6),
    "JPEG XL, effort 7": dict(format="JXL", lossless=True, effort=7),
    "JPEG XL, effort 9": dict(format="JXL", lossless=True, effort=9),
}


def compared(model, images, batch_size, formats):
    """The rows of the table, for images of a model and formats like `FORMATS`."""
    codec = rnvp.compression.Codec(model, batch_size)
    codec.decompress(codec.compress(images[:1], verify=False))  # The graphs are traced before the clock starts.
    coders = {name: Files(options, channels=images.shape[-1]) for name, options in formats.items()}
    coders |= {f"{name}, one mosaic": Mosaic(options, images.shape) for name, options in formats.items()}
    coders["tfp_realnvp, one archive"] = Archive(codec)
    rows = [measured(name, coder, images) for name, coder in coders.items()]
    bits = rnvp.compression.code_length(model, images).sum()
    ideal = {"bits/dim": f"{bits / images.size:.4f}", "bytes an image": f"{bits / 8 / len(images):.1f}"}
    return [*rows, {"coder": "−Σ log2 P", **ideal}]


def measured(name, coder, images):
    """A row of the table: bits/dim with the standard error over files, and images a second both ways."""
    start = time.perf_counter()
    files = coder.encode(images)
    between = time.perf_counter()
    decoded = coder.decode(files)
    end = time.perf_counter()
    np.testing.assert_array_equal(decoded, images)
    sizes = np.array([len(file) for file in files])
    row = {
        "coder": name,
        "bits/dim": f"{8 * sizes.sum() / images.size:.4f}",
        "bytes an image": f"{sizes.sum() / len(images):.1f}",
        "images/s, encoded": len(images) / (between - start),
        "images/s, decoded": len(images) / (end - between),
    }
    if len(files) > 1:
        row["±"] = 8 * sizes.std(ddof=1) / math.sqrt(len(files)) / images[0].size
    return row


class Files:
    """A file for each image.

    Args:
      options: options of Pillow's `save`.
      channels: number of the images' channels.
    """

    def __init__(self, options, channels):
        self._options, self._channels = options, channels

    def encode(self, images):
        """The bytes of each file."""
        return [encoded_picture(image, self._options) for image in images]

    def decode(self, files):
        """The images of files, [N, height, width, channels]."""
        return np.stack([decoded_picture(file, self._channels) for file in files])


class Mosaic:
    """One file for all images, in about as many rows as columns, as far as the number of images divides.

    Args:
      options: options of Pillow's `save`.
      shape: (N, height, width, channels) of the images.
    """

    def __init__(self, options, shape):
        number, self._height, self._width, self._channels = shape
        self._columns = max(n for n in range(1, math.isqrt(number) + 1) if number % n == 0)
        self._options = options

    def encode(self, images):
        """The bytes of the file, in a list."""
        rows = images.reshape(-1, self._columns, *images.shape[1:]).transpose(0, 2, 1, 3, 4)
        return [encoded_picture(rows.reshape(-1, self._columns * self._width, self._channels), self._options)]

    def decode(self, files):
        """The images of the file."""
        picture = decoded_picture(files[0], self._channels)
        rows = picture.reshape(-1, self._height, self._columns, self._width, self._channels)
        return rows.transpose(0, 2, 1, 3, 4).reshape(-1, self._height, self._width, self._channels)


class Archive:
    """One archive of all images, by a model.

    Args:
      codec: `rnvp.compression.Codec`.
    """

    def __init__(self, codec):
        self._codec = codec

    def encode(self, images):
        """The bytes of the archive, in a list."""
        return [self._codec.compress(images, verify=False)]

    def decode(self, files):
        """The images of the archive."""
        return self._codec.decompress(files[0])


def encoded_picture(image, options):
    """The bytes of a picture [height, width, channels] in a format of Pillow's."""
    with io.BytesIO() as file:
        PIL.Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, **options)
        return file.getvalue()


def decoded_picture(file, channels):
    """The picture [height, width, channels] in the bytes of a file."""
    with PIL.Image.open(io.BytesIO(file)) as picture:  # WebP has no gray: its three channels are then equal.
        pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    return pixels[..., np.newaxis] if channels == 1 else pixels
