"""The bytes of an archive: magic, the length of its header, the header, the lanes. The header is compressed JSON."""

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

MAGIC = b"\x93RNVP"


def pack(header: dict[str, Any], lanes: Sequence[np.ndarray]) -> bytes:
    """The bytes of an archive.

    Args:
      header: dictionary for JSON.
      lanes: uint32 arrays.

    Example: `unpack(pack({"format": 1}, lanes))`
    """
    described = zlib.compress(json.dumps({**header, "words": [len(lane) for lane in lanes]}).encode(), 9)
    return b"".join(
        [MAGIC, struct.pack("<I", len(described)), described, *(lane.astype("<u4").tobytes() for lane in lanes)]
    )


def unpack(data: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The header and the lanes of an archive.

    Args:
      data: bytes, of `pack`.

    Raises:
      ValueError: for other data, or an archive that is cut or has a damaged header.

    Example: `header, lanes = unpack(data)`
    """
    start = len(MAGIC) + 4
    if len(data) < start or data[: len(MAGIC)] != MAGIC:
        raise ValueError("data must be an archive of Codec.compress; it does not begin like one")
    (size,) = struct.unpack("<I", data[len(MAGIC) : start])
    try:
        header = json.loads(zlib.decompress(data[start : start + size]))
    except (zlib.error, ValueError):
        raise ValueError("data must be an archive of Codec.compress; its header is cut or damaged") from None
    ends = start + size + 4 * np.cumsum([0, *header["words"]])
    cut = np.flatnonzero(ends[1:] > len(data))
    if cut.size:
        raise ValueError(f"data must be a whole archive; it is cut at image {cut[0]} of {len(header['words'])}")
    if ends[-1] < len(data):
        raise ValueError(f"data must be one archive; {len(data) - ends[-1]} bytes follow it")
    return header, [np.frombuffer(data[begin:end], "<u4") for begin, end in zip(ends[:-1], ends[1:], strict=True)]
