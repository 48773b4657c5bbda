"""Image files that Pillow reads and does not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

# of an interlaced PNG (Adam7): first row, first column, and the steps
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def write_png(path: Path, pixels: np.ndarray, colour: int, *, interlaced: bool = False) -> Path:
    """A PNG of uint8 or uint16 (H, W, C); colour is 0 grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha."""
    height, width = pixels.shape[:2]
    parts = [pixels[y::dy, x::dx] for y, x, dy, dx in PASSES] if interlaced else [pixels]
    raw = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for part in parts for row in part)
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colour, 0, 0, int(interlaced))
    chunks = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(raw)) + _chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def write_tiff(path: Path, pixels: np.ndarray) -> Path:
    """An uncompressed little-endian TIFF of uint8 or uint16 RGB, (H, W, 3)."""
    height, width, channels = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    bits_at, pixels_at = 8, 8 + 2 * channels
    tags = (
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, bits_at), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, pixels_at), (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(data)),
    )  # fmt: skip
    head = struct.pack("<2sHI", b"II", 42, pixels_at + len(data)) + struct.pack("<H", 8 * pixels.itemsize) * channels
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    path.write_bytes(head + data + directory)
    return path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
