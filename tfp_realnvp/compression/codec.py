"""Lossless compression of images by a flow with exact probabilities of levels.

The encoder and the decoder take the same way through the flow, from the coarsest pixels to the finest. Each level is
`num_bins` wide at first and is halved until one is left, see `decisions`. Each half has its probability, see
`bijectors.bins`. The decisions go to an entropy coder, see `ans`. The sum is −log2 P of the image, up to the coder's
few bytes.

Both must compute the same probabilities to the last bit. So they take the same steps on batches of the same shape, and
the networks compute in float64. Their outputs are rounded to multiples of 2^-12 before any distribution function.
"""

import functools
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp import evaluation
from tfp_realnvp.architectures import Architecture, SubpixelFlow
from tfp_realnvp.bijectors import Squeeze, bins
from tfp_realnvp.common import check_positive
from tfp_realnvp.compression import ans, container
from tfp_realnvp.compression.decisions import Enough, Halves, Reader, Writer
from tfp_realnvp.fingerprint import fingerprint
from tfp_realnvp.model import FlowModel

FORMAT = 3
GRID = 2.0**12  # the networks' outputs are multiples of 1 / GRID


def code_length(model: FlowModel, images: Any, batch_size: int = 200) -> np.ndarray:
    """The bits of each image, −log2 P, without coding: a float64 array [N].

    Args:
      model, images, batch_size: as for `evaluation.exact`.

    Raises:
      ValueError: as `evaluation.exact`.

    Example: `code_length(model, images).sum() / 8` bytes are needed for the images.
    """
    return -evaluation.exact(model, images, batch_size) / math.log(2)


class Codec:
    """Compresses images into bytes, and gives back the very pixels.

    The model is a part of the code: only the same weights decode it, of which the codec keeps a copy. Archives are for
    machines of one kind with the same versions of TensorFlow and NumPy. Where another machine computes otherwise,
    decoding raises an error.

    Args:
      model: `FlowModel` without a context, with exact probabilities, such as a `SubpixelFlow` without a refinement. It
        may have been trained with noise.
      batch_size: number of images that are coded together.

    Raises:
      ValueError: for a flow that has only a density, or a conditional one.

    Example:

    ```python
    codec = rnvp.compression.Codec(model)
    data = codec.compress(images)
    np.testing.assert_array_equal(codec.decompress(data), images)
    codec.archive(data)[3]                       # the fourth image alone
    ```
    """

    def __init__(self, model: FlowModel, batch_size: int = 100) -> None:
        check_positive(batch_size=batch_size)
        if model.context_size:
            raise ValueError("model must be a flow without a context for a codec; got a conditional one")
        if model.num_bins == 1:
            raise ValueError("num_bins must be at least 2 for a codec; got 1, whose images are all alike")
        try:
            evaluation.check_exact(model)
        except ValueError as error:
            raise ValueError(f"model must have exact probabilities of its levels for a codec: {error}") from None
        self.model = model
        self.batch_size = batch_size
        self._exact: FlowModel = model.with_dtype("float64") if isinstance(model, Architecture) else model

    def compress(self, images: Any, names: Sequence[str] | None = None, verify: bool = True) -> bytes:
        """The archive of images.

        Args:
          images: array [N] + event_shape of pixel levels.
          names: strings [N], such as the images' paths, for `Archive.names`.
          verify: whether to decode the archive before it is returned.

        Raises:
          ValueError: for images that do not fit the model, or if the archive does not give them back.

        Example: `data = codec.compress(images)`
        """
        images = self.model.events.checked_array("images", images)
        if names is not None and len(names) != len(images):
            raise ValueError(f"names must be None or as many as the images, {len(images)}; got {len(names)}")
        lanes: list[np.ndarray] = []
        for batch in self._batches(images):
            writer = Writer(self._halves, self._num_bins)
            self._walk(writer, batch)
            lanes += ans.encode(*writer.decisions(), _seals(batch))
        lanes = lanes[: len(images)]
        header = {**self._identity(), "dtype": images.dtype.str, "tensorflow": tf.__version__, "numpy": np.__version__}
        header |= {} if names is None else {"names": list(names)}
        data = container.pack(header, lanes)
        if verify and not np.array_equal(self.decompress(data), images):
            raise ValueError("the archive must give back the images; this machine does not repeat its own results")
        return data

    def decompress(self, data: bytes, num_scales: int | None = None) -> np.ndarray:
        """The images of an archive, an array [N] + event_shape.

        Args:
          data: bytes, of `compress`.
          num_scales: number of scales of a `SubpixelFlow` to decode: 0 gives its coarsest images, and each scale has
            twice the height and width. The checksum is of the whole image, so coarser ones are not checked. None for
            all.

        Raises:
          ValueError: for data that are no archive, of another model, cut or damaged (it names the images), or a wrong
            `num_scales`.

        Example: `codec.decompress(data, num_scales=3)` are thumbnails of a quarter of the size, of five scales.
        """
        archive = self.archive(data)
        return archive.images(range(len(archive)), num_scales)

    def archive(self, data: bytes) -> "Archive":
        """The archive, whose images can be decoded one by one.

        Raises:
          ValueError: as for `decompress`.

        Example: `codec.archive(data)[-1]` is the last image.
        """
        return Archive(self, data)

    def read(
        self, lanes: Mapping[int, np.ndarray], dtype: Any, num_scales: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The images of lanes, in their order, and whether each is what was compressed.

        Args:
          lanes: {place in the batch: array of `ans.encode`}. Each must be at the place that it was encoded at: the last
            entries of a tensor are computed by other instructions than the rest, and may round differently.
          dtype: of the images.
          num_scales: as for `decompress`.
        """
        any_lane, places = next(iter(lanes.values())), list(lanes)
        decoder = ans.Decoder([lanes.get(place, any_lane) for place in range(self.batch_size)])
        reader = Reader(self._halves, self._num_bins, decoder, _num_parts(self.model, num_scales))
        try:
            images = self._walk(reader).astype(dtype)
        except Enough:
            images = _thumbnails(self.model, reader.parts).astype(dtype)
            return images[places], np.ones(len(places), bool)
        return images[places], decoder.is_sealed(_seals(images))[places]

    def check(self, header: dict[str, Any]) -> None:
        """Raises a ValueError for the header of an archive of another model."""
        for name, value in self._identity().items():
            if header.get(name) != value:
                raise ValueError(
                    f"data must be an archive of this model and batch_size: its {name} must be {value}; "
                    f"got {header.get(name)!r}"
                )

    @property
    def _num_bins(self) -> int:
        num_bins = self.model.num_bins
        assert num_bins is not None
        return num_bins

    def _identity(self) -> dict[str, Any]:
        """The part of the header that a codec must have in common with the encoder."""
        return {
            "format": FORMAT,
            "event_shape": list(self.model.event_shape),
            "num_bins": self._num_bins,
            "batch_size": self.batch_size,
            "weights": self._hash,
        }

    @functools.cached_property
    def _hash(self) -> str:
        return fingerprint(self._exact, with_noise=False)

    def _batches(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """Batches of `batch_size` images; the last image fills up the last batch."""
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            yield np.concatenate([batch, np.repeat(batch[-1:], self.batch_size - len(batch), axis=0)])

    def _walk(self, chooser: Writer | Reader, images: np.ndarray | None = None) -> np.ndarray:
        """Goes through the flow from the coarsest pixels to the finest, and gives the images."""
        distribution = self._exact.distribution
        shape = [self.batch_size, *self.model.event_shape]
        levels = tf.zeros(shape, distribution.dtype) if images is None else tf.cast(images, distribution.dtype)
        choice = lambda bijector_fn, params, kept, z, at: (kept, chooser(bijector_fn, _on_grid(params), z, at))
        flow = bins.data_to_latent(distribution)
        return bins.inverse(flow, bins.in_latents_order(flow, levels), tf.identity, choice).numpy()

    @functools.cached_property
    def _halves(self) -> Halves:
        return Halves(bins.standardized(self._exact.distribution))


class Archive:
    """Compressed images, each of which can be decoded alone.

    Args:
      codec: `Codec` of the same model.
      data: bytes, of `Codec.compress`.

    Attributes:
      header: dictionary of the archive's format, versions, shapes and weights.

    Raises:
      ValueError: as for `Codec.decompress`.

    Example: `Archive(codec, data)[3]` is the fourth image, and `len(Archive(codec, data))` their number.
    """

    def __init__(self, codec: Codec, data: bytes) -> None:
        self.header, self._lanes = container.unpack(data)
        codec.check(self.header)
        self._codec = codec

    @property
    def names(self) -> list[str]:
        """The names that were given to `compress`, by default the numbers of the images."""
        return self.header.get("names", [str(number) for number in range(len(self))])

    def __len__(self) -> int:
        return len(self._lanes)

    def __getitem__(self, index: Any) -> np.ndarray:
        numbers = range(len(self))[index]
        return self.images([numbers])[0] if isinstance(numbers, int) else self.images(numbers)

    def images(self, numbers: Sequence[int], num_scales: int | None = None) -> np.ndarray:
        """The images of these numbers, an array [len(numbers)] + event_shape.

        Args:
          numbers: ints.
          num_scales: as for `Codec.decompress`.

        Raises:
          ValueError: as for `Codec.decompress`.

        Example: `archive.images(range(10), num_scales=2)`
        """
        dtype, size = np.dtype(self.header["dtype"]), self._codec.batch_size
        if not numbers:
            return np.zeros([0, *self._codec.model.event_shape], dtype)
        # Each image keeps its place in a batch. So images of one place go into batches of their own.
        batches: list[dict[int, int]] = []
        for row, number in enumerate(numbers):
            batch = next((batch for batch in batches if number % size not in batch), None)
            if batch is None:
                batches.append(batch := {})
            batch[number % size] = row
        images: dict[int, np.ndarray] = {}
        damaged: list[int] = []
        for batch in batches:
            lanes = {place: self._lanes[numbers[row]] for place, row in batch.items()}
            decoded, is_right = self._codec.read(lanes, dtype, num_scales)
            images.update(zip(batch.values(), decoded, strict=True))
            damaged += [numbers[row] for row, right in zip(batch.values(), is_right, strict=True) if not right]
        if damaged:
            versions = f"TensorFlow {self.header.get('tensorflow')}, here {tf.__version__}"
            raise ValueError(
                f"data must give back what was compressed: images {sorted(damaged)[:10]} are damaged, or this machine "
                f"computes otherwise than the encoder's ({versions})"
            )
        return np.stack([images[row] for row in range(len(numbers))])


def _on_grid(params: tf.Tensor) -> tf.Tensor:
    return tf.round(params * GRID) / GRID


def _seals(images: np.ndarray) -> np.ndarray:
    """The checksums of images, from which their lanes begin."""
    return np.array([zlib.crc32(np.ascontiguousarray(image).tobytes()) for image in images], np.uint32)


def _num_parts(model: Any, num_scales: int | None) -> int | None:
    """The number of parts of the images of `num_scales` scales: those of the coarsest one, and three for each scale."""
    if num_scales is None:
        return None
    scales = model.options.num_scales if isinstance(model, SubpixelFlow) else 0
    if not isinstance(num_scales, int) or not 0 <= num_scales <= scales:
        raise ValueError(f"num_scales must be None or an int from 0 to {scales} for this model; got {num_scales!r}")
    return model.num_parts(num_scales) if num_scales < scales else None


def _thumbnails(model: Any, parts: Sequence[np.ndarray]) -> np.ndarray:
    """The images of the parts of a `SubpixelFlow`: the coarsest ones, then three pixels of each 2×2 block."""
    num_groups = model.num_parts(0)
    groups, others = parts[:num_groups], parts[num_groups:]
    images = model.coarsest_order.inverse(np.concatenate(groups, axis=-1)) if model.coarsest_order else groups[0]
    for first in range(0, len(others), 3):
        images = Squeeze(diagonal_first=True).inverse(np.concatenate([images, *others[first : first + 3]], axis=-1))
    return np.asarray(images)
