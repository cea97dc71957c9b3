"""Lossless compression of images by a flow with exact probabilities of levels.

The encoder and the decoder take the same way through the flow, from the coarsest pixels to the finest. Each level is
`num_bins` wide at first and is halved until one is left. Each half has its probability, see `bijectors.bins`, and the
decisions go to an entropy coder, see `ans`. The sum is −log2 P of the image, up to the coder's few bytes.

Both must compute the same probabilities to the last bit. So they take the same steps on batches of the same shape, and
the networks compute in float64. Their outputs are rounded to multiples of 2^-12 before any distribution function.
"""

import functools
import hashlib
import json
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfp_realnvp import ans, evaluation
from tfp_realnvp.bijectors import Squeeze, bins
from tfp_realnvp.common import check_positive

if TYPE_CHECKING:
    from tfp_realnvp.model import FlowModel

MAGIC = b"\x93RNVP"
FORMAT = 1
GRID = 2.0**12  # the networks' outputs are multiples of 1 / GRID


def code_length(model: "FlowModel", images: Any, batch_size: int = 200) -> np.ndarray:
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

    The model is a part of the code: only the same weights decode it. Archives are for machines of one kind with the
    same versions of TensorFlow and NumPy. Where another machine computes otherwise, decoding raises an error.

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

    def __init__(self, model: "FlowModel", batch_size: int = 100) -> None:
        check_positive(batch_size=batch_size)
        if model.num_bins == 1:
            raise ValueError("num_bins must be at least 2 for a codec; got 1, whose images are all alike")
        if model.context_size:
            raise ValueError("model must be a flow without a context for a codec; got a conditional one")
        try:
            evaluation.check_exact(model)
        except ValueError as error:
            raise ValueError(f"model must have exact probabilities of its levels for a codec: {error}") from None
        self.model = model
        self.batch_size = batch_size
        self._exact: Any = model.with_dtype("float64") if hasattr(model, "with_dtype") else model

    def compress(self, images: Any, names: Sequence[str] | None = None, verify: bool = True) -> bytes:
        """The archive of images.

        Args:
          images: array [N] + event_shape of pixel levels.
          names: strings [N], such as the images' paths, for `Archive.names`.
          verify: whether to decode the archive before it is returned.

        Raises:
          ValueError: for images that do not fit the model.
          RuntimeError: if the archive does not give back the images.

        Example: `data = codec.compress(images)`
        """
        images = self.model.events.checked_array("images", images)
        if names is not None and len(names) != len(images):
            raise ValueError(f"names must be None or as many as the images, {len(images)}; got {len(names)}")
        lanes: list[np.ndarray] = []
        for batch in self._batches(images):
            writer = _Writer(self._num_bins)
            self._walk(writer, batch)
            seals = np.array([_seal(image) for image in batch], np.uint32)
            lanes += ans.encode(*writer.decisions(), seals)
        lanes = lanes[: len(images)]
        header = {**self._identity(), "dtype": images.dtype.str, "number": len(images)}
        header |= {} if names is None else {"names": list(names)}
        data = _pack(header, lanes)
        if verify and not np.array_equal(self.decompress(data), images):
            raise RuntimeError(
                "the archive does not give back the images: this machine does not repeat its own results"
            )
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

    def read(self, lanes: Sequence[np.ndarray], dtype: Any, num_scales: int | None) -> tuple[np.ndarray, np.ndarray]:
        """The images of at most `batch_size` lanes, and whether each is what was compressed.

        Args:
          lanes: arrays of `ans.encode`.
          dtype: of the images.
          num_scales: as for `decompress`.
        """
        filled = [*lanes, *[lanes[0]] * (self.batch_size - len(lanes))]
        decoder = ans.Decoder(filled)
        reader = _Reader(self._num_bins, decoder, _num_parts(self.model, num_scales))
        try:
            images = self._walk(reader)
        except _Enough:
            return _thumbnails(reader.parts).astype(dtype)[: len(lanes)], np.ones(len(lanes), bool)
        images = images.astype(dtype)[: len(lanes)]
        seals = np.array(
            [_seal(image) for image in [*images, *[images[0]] * (self.batch_size - len(lanes))]], np.uint32
        )
        return images, decoder.is_sealed(seals)[: len(lanes)]

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
        digest = hashlib.sha256(type(self.model).__name__.encode())
        for weight in self._exact.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
        return digest.hexdigest()

    def _batches(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """Batches of `batch_size` images; the last image fills up the last batch."""
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            yield np.concatenate([batch, np.repeat(batch[-1:], self.batch_size - len(batch), axis=0)])

    def _walk(self, chooser: "_Writer | _Reader", images: np.ndarray | None = None) -> np.ndarray:
        """Goes through the flow from the coarsest pixels to the finest, and gives the images."""
        distribution = self._exact.distribution
        shape = [self.batch_size, *self.model.event_shape]
        levels = tf.zeros(shape, distribution.dtype) if images is None else tf.cast(images, distribution.dtype)
        choice = bins.Choice(functools.partial(chooser.levels, bins.standardized(distribution)), params=_on_grid)
        flow = bins.data_to_latent(distribution)
        return bins.inverse(flow, self._in_latents_order(levels), tf.identity, choice).numpy()

    @tf.function(reduce_retracing=True, autograph=False)
    def _in_latents_order(self, levels: tf.Tensor) -> tf.Tensor:
        """The levels at the places of their latents. TensorFlow drops the networks from this graph."""
        flow = bins.data_to_latent(self._exact.distribution)
        return bins.forward(flow, bins.Bins.of(levels, tf.identity, ())).levels


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
        self.header, self._lanes = _unpack(data, codec.check)
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
        images, damaged = [np.zeros([0, *self._codec.model.event_shape], dtype)], []
        for start in range(0, len(numbers), size):
            batch = numbers[start : start + size]
            decoded, is_right = self._codec.read([self._lanes[number] for number in batch], dtype, num_scales)
            images.append(decoded)
            damaged += [number for number, right in zip(batch, is_right, strict=True) if not right]
        if damaged:
            raise ValueError(
                f"data must give back what was compressed: images {damaged[:10]} are damaged, or this machine computes "
                f"otherwise than the encoder's (TensorFlow {self.header.get('tensorflow')}, here {tf.__version__})"
            )
        return np.concatenate(images[len(images) > 1 :])


class _Enough(Exception):
    """All parts that are wanted have been decoded."""


class _Halving:
    """The bins of entries, halved until one level is left.

    Args:
      standard: function of a latent that makes it a standard logistic one.
      f, at: the map of the entries and the values in front of it, see `bins.Choice`.
      levels: tensor of the entries' shape.
      num_bins: number of levels.

    Attributes:
      first: the first level of each bin.
    """

    def __init__(self, standard: Any, f: Any, at: bins.At, levels: tf.Tensor, num_bins: int) -> None:
        self._standard, self._f, self._at, self._num_bins = standard, f, at, num_bins
        self.size = 2 ** (num_bins - 1).bit_length()
        self.first = self._low = self._high = tf.zeros_like(levels)

    def frequencies(self, levels: tf.Tensor) -> np.ndarray:
        """The frequencies of the lower halves, given the levels of the channels before."""
        self.size //= 2
        middle = self.first + self.size
        self._middle = self._standard(*bins.edges_of(self._f, levels, self._at, middle))
        is_last = middle + self.size >= self._num_bins
        lower = bins.log_probs(self._low, self._middle, self.first == 0, False)
        upper = bins.log_probs(self._middle, self._high, False, is_last)
        of_lower = tf.where(middle >= self._num_bins, tf.ones_like(lower), tf.sigmoid(lower - upper))
        return ans.frequency(of_lower.numpy())

    def take(self, is_upper: np.ndarray) -> None:
        """Takes the upper or the lower half of each bin."""
        self.first = tf.where(is_upper, self.first + self.size, self.first)
        self._low = tf.where(is_upper, self._middle, self._low)
        self._high = tf.where(is_upper, self._high, self._middle)


class _Writer:
    """Notes the decisions that lead to the levels of the images."""

    def __init__(self, num_bins: int) -> None:
        self._num_bins = num_bins
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def levels(self, standard: Any, f: Any, levels: tf.Tensor, at: bins.At) -> tf.Tensor:
        halving, parts = _Halving(standard, f, at, levels, self._num_bins), []
        while halving.size > 1:
            frequencies = halving.frequencies(levels)
            is_upper = (levels >= halving.first + halving.size).numpy()
            halving.take(is_upper)
            parts.append((is_upper, frequencies))
        for turn in _turns(f, levels):
            self._parts += [(_rows(is_upper[turn]), _rows(frequencies[turn])) for is_upper, frequencies in parts]
        return levels

    def decisions(self) -> tuple[np.ndarray, np.ndarray]:
        """The decisions and the frequencies, two arrays [images, decisions]."""
        decisions, frequencies = zip(*self._parts, strict=True)
        return np.concatenate(decisions, axis=1), np.concatenate(frequencies, axis=1)


class _Reader:
    """Reads the decisions, and finds the levels.

    Args:
      num_bins: number of levels.
      decoder: `ans.Decoder`.
      num_parts: number of parts of the images to read; None for all.

    Attributes:
      parts: list of arrays, the levels so far.
    """

    def __init__(self, num_bins: int, decoder: ans.Decoder, num_parts: int | None) -> None:
        self._num_bins, self._decoder, self._num_parts = num_bins, decoder, num_parts
        self.parts: list[np.ndarray] = []

    def levels(self, standard: Any, f: Any, z: tf.Tensor, at: bins.At) -> tf.Tensor:
        if len(self.parts) == self._num_parts:
            raise _Enough
        levels = np.zeros(z.shape)
        for turn in _turns(f, z):
            halving = _Halving(standard, f, at, z, self._num_bins)
            while halving.size > 1:
                frequencies = _rows(halving.frequencies(tf.constant(levels, z.dtype))[turn])
                is_upper = np.zeros(z.shape, bool)
                part = np.stack([self._decoder.read(column) for column in frequencies.T], axis=1)
                is_upper[turn] = part.reshape(is_upper[turn].shape)
                halving.take(is_upper)
            levels[turn] = halving.first.numpy()[turn]
        self.parts.append(levels)
        return tf.constant(levels, z.dtype)


def _turns(f: Any, z: tf.Tensor) -> list[Any]:
    """The entries that are decoded at once, as indices: all of them, or a channel after the other."""
    turns = bins.num_turns(f, z)
    return [(..., slice(None))] if turns == 1 else [(..., channel) for channel in range(turns)]


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape([len(array), -1])


def _on_grid(params: tf.Tensor) -> tf.Tensor:
    return tf.round(params * GRID) / GRID


def _seal(image: np.ndarray) -> int:
    """The checksum of an image, from which its lane begins."""
    return zlib.crc32(np.ascontiguousarray(image).tobytes())


def _num_parts(model: Any, num_scales: int | None) -> int | None:
    """The number of parts of the images of `num_scales` scales: the coarsest image, and three for each scale."""
    if num_scales is None:
        return None
    scales = getattr(getattr(model, "options", None), "num_scales", 0)
    if not isinstance(num_scales, int) or not 0 <= num_scales <= scales:
        raise ValueError(f"num_scales must be None or an int from 0 to {scales} for this model; got {num_scales!r}")
    return 1 + 3 * num_scales if num_scales < scales else None


def _thumbnails(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The images of the parts of a `SubpixelFlow`: the coarsest ones, then three pixels of each 2×2 block."""
    images, *others = parts
    for first in range(0, len(others), 3):
        images = Squeeze(diagonal_first=True).inverse(np.concatenate([images, *others[first : first + 3]], axis=-1))
    return np.asarray(images)


# The archive: magic, length and checksum of what describes it, its JSON header, the words of each lane, the lanes.


def _pack(header: dict[str, Any], lanes: Sequence[np.ndarray]) -> bytes:
    described = json.dumps({**header, "tensorflow": tf.__version__, "numpy": np.__version__}).encode()
    lengths = b"".join(_varint(len(lane)) for lane in lanes)
    front = struct.pack("<II", len(described), len(lengths)) + described + lengths
    return b"".join(
        [MAGIC, struct.pack("<I", zlib.crc32(front)), front, *(lane.astype("<u4").tobytes() for lane in lanes)]
    )


def _unpack(data: bytes, check: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    start = len(MAGIC) + 12
    if len(data) < start or data[: len(MAGIC)] != MAGIC:
        raise ValueError("data must be an archive of Codec.compress; it does not begin like one")
    checksum, described, lengths = struct.unpack("<III", data[len(MAGIC) : start])
    front = data[len(MAGIC) + 4 : start + described + lengths]
    if zlib.crc32(front) != checksum:
        raise ValueError("data must be an archive of Codec.compress; its header is cut or damaged")
    header = json.loads(front[8 : 8 + described])
    check(header)
    sizes = _from_varints(front[8 + described :])
    ends = start + described + lengths + 4 * np.cumsum([0, *sizes])
    cut = np.flatnonzero(ends[1:] > len(data))
    if cut.size:
        raise ValueError(f"data must be a whole archive; it is cut at image {cut[0]} of {len(sizes)}")
    if ends[-1] < len(data):
        raise ValueError(f"data must be one archive; {len(data) - ends[-1]} bytes follow it")
    lanes = [np.frombuffer(data[begin:end], "<u4") for begin, end in zip(ends[:-1], ends[1:], strict=True)]
    return header, lanes


def _varint(number: int) -> bytes:
    """A number in groups of 7 bits, the last of which has no eighth bit."""
    groups = [number & 127]
    while number := number >> 7:
        groups.append(number & 127)
    return bytes([group | 128 for group in groups[:-1]] + groups[-1:])


def _from_varints(data: bytes) -> list[int]:
    numbers, number, shift = [], 0, 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(number)
            number, shift = 0, 0
    return numbers
