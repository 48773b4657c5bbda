"""Zip files with their own SHA-256 in the comment at the end, which readers of zip files ignore."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from pathlib import Path

_MARK = b"sha256="
_LENGTH = len(_MARK) + 2 * hashlib.sha256().digest_size
_END = struct.Struct("<4s16xH")  # last record of a zip file: its signature, and the length of its comment
_BLOCK = 1 << 20


def seal(archive: io.BytesIO) -> None:
    """Append the checksum of everything before it to a zip file without a comment."""
    with archive.getbuffer() as content:
        content[-2:] = struct.pack("<H", _LENGTH)
        checksum = hashlib.sha256(content).hexdigest()
    archive.seek(0, io.SEEK_END)
    archive.write(_MARK + checksum.encode())


def check_seal(path: Path) -> bool:
    """Compare a zip file with its checksum.

    Returns:
        False if it has none. Its entries then agree with their CRC-32s, which do not cover the whole file.

    Raises:
        ValueError: The file is damaged, or not a zip file.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _LENGTH))
        end = file.read()
        if not end.startswith(_MARK):
            if end[-_END.size :][:4] != b"PK\5\6" or _END.unpack(end[-_END.size :])[1]:
                raise ValueError("not a complete zip file")
            _check_entries(path)
            return False
        file.seek(0)
        checksum, left = hashlib.sha256(), size - _LENGTH
        while block := file.read(min(left, _BLOCK)):
            checksum.update(block)
            left -= len(block)
    if end[len(_MARK) :] != checksum.hexdigest().encode():
        raise ValueError("its SHA-256 is not the recorded one")
    return True


def _check_entries(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # a damaged header leads to errors of any kind
        raise ValueError(f"{type(error).__name__}: {error}") from None
    if damaged is not None:
        raise ValueError(f"the CRC-32 of {damaged} is not the recorded one")
