"""Image store: all images of a study, decoded once, in a memory-mapped file of 8-bit squares, grey or in colour.

An image store is a folder with `pixels.u8` (n × size × size bytes, in colour × 3) and `index.json` (names, and SHA-256
of each chunk of images). `build_store.py` writes it; the index is written last, so a folder with an index is complete.
"""

from __future__ import annotations

import hashlib
import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from awb import AWBError
from awb.errors import did_you_mean, shortlist
from examples.chestxray14.data.decode import Decoding
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.files.checksums import json_digest

FORMAT = "chestxray14 store, version 1"
CHUNK = 64  # images that are decoded, hashed and resumed together
PIXELS, INDEX = "pixels.u8", "index.json"
_REMEDY = "delete the image store, and prepare it again"


@dataclass(frozen=True)
class Index:
    """Content of an image store.

    Attributes:
        size: Side of an image in pixels.
        names: Names of the images, in the order of the pixels.
        chunks: SHA-256 of the pixels of each CHUNK images; the last chunk may be shorter.
        sources: SHA-256 of the names and byte counts of each chunk's files.
        colour: True if the images have three channels.
    """

    size: int
    names: tuple[str, ...]
    chunks: tuple[str, ...]
    sources: tuple[str, ...]
    colour: bool = False

    @property
    def decoding(self) -> Decoding:
        return Decoding(self.size, colour=self.colour)

    @property
    def image_bytes(self) -> int:
        """Bytes of an image."""
        return math.prod(self.decoding.shape)

    def content(self) -> dict[str, Any]:
        """Content of the file; `colour` is in it only if true, so that the checksums of grey stores stay."""
        content = {
            "format": FORMAT, "size": self.size, "names": list(self.names), "chunks": list(self.chunks),
            "sources": list(self.sources),
        }  # fmt: skip
        return content | ({"colour": True} if self.colour else {})


def write_index(folder: Path, index: Index) -> None:
    """Write an index with its own checksum, atomically."""
    content = index.content()
    text = json.dumps({"sha256": json_digest(content), **content})
    write_atomically(folder / INDEX, text.encode(), shared=True)


def read_index(folder: Path) -> Index:
    """Read the index of an image store, and compare it with its checksum.

    Raises:
        AWBError: There is no index, it has another format, or it was changed.
    """
    path = folder / INDEX
    if not path.is_file():
        why = "its images are not all decoded: run prepare again" if (folder / PIXELS).is_file() else "run prepare"
        raise AWBError(f"{folder} is not a finished image store, it has no {INDEX}; {why}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        recorded = content.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise AWBError(f"{path} is damaged: no JSON object with a checksum; {_REMEDY}") from None
    if content.get("format") != FORMAT:
        raise AWBError(f"{path} has format {content.get('format')!r}; expected {FORMAT!r}: {_REMEDY}")
    if json_digest(content) != recorded:
        raise AWBError(f"{path} is damaged: its SHA-256 is not the recorded one; {_REMEDY}")
    return Index(
        content["size"], tuple(content["names"]), tuple(content["chunks"]), tuple(content["sources"]),
        content.get("colour", False),
    )  # fmt: skip


class ImageStore:
    """Images by name, read from the disk when asked for.

    Opening compares the index with its checksum and the length of the file of pixels; `verify` reads everything.

    Args:
        folder: Folder that `prepare` wrote.
        verify: Compare the pixels with their checksums now.

    Attributes:
        size: Side of each image in pixels.
        names: Names of all images.

    Raises:
        AWBError: The folder is not a finished image store, or it is damaged.
    """

    def __init__(self, folder: str | Path, *, verify: bool = False) -> None:
        self.folder = Path(folder)
        self._index = read_index(self.folder)
        self.size, self.names = self._index.size, self._index.names
        self._row = {name: row for row, name in enumerate(self.names)}
        path, expected = self.folder / PIXELS, len(self.names) * self._index.image_bytes
        found = path.stat().st_size if path.is_file() else 0
        if found != expected:
            raise AWBError(f"{path} has {found:,} bytes; expected {expected:,}: {_REMEDY}")
        self._pixels = np.memmap(path, np.uint8, "r", shape=(len(self.names), *self.decoding.shape))
        if verify:
            self.verify()

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = False) -> ImageStore:
        """Open the image store in a folder."""
        return cls(folder, verify=verify)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._row

    def __getitem__(self, name: str) -> npt.NDArray[np.uint8]:
        """Copy of an image, uint8 (size, size), in colour (size, size, 3).

        Raises:
            AWBError: There is no such image.
        """
        if name not in self._row:
            raise AWBError(
                f"the image store {self.folder} has no image {name!r}{did_you_mean(name, self.names[:1000])}"
            )
        return np.array(self._pixels[self._row[name]])

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageStore, (self.folder,)  # a worker process opens the file itself, rather than be sent all pixels

    @property
    def decoding(self) -> Decoding:
        """How the images were decoded."""
        return self._index.decoding

    @property
    def checksum(self) -> str:
        """SHA-256 of the index, and through it of all names and pixels."""
        return json_digest(self._index.content())

    def require(self, names: npt.ArrayLike) -> None:
        """Refuse images that are not here.

        Raises:
            AWBError: Images are missing; the message names them.
        """
        missing = [name for name in np.asarray(names).tolist() if name not in self._row]
        if missing:
            raise AWBError(
                f"{len(missing):,} of {np.size(names):,} images are not in the image store {self.folder}: "
                f"{shortlist(missing, 4)}; run prepare with the table that has them"
            )

    def verify(self) -> None:
        """Read all pixels and compare them with their checksums.

        Raises:
            AWBError: Pixels differ; the message names the images of their chunks.
        """
        with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter's lock
            found = list(pool.map(self._chunk_checksum, range(len(self._index.chunks))))
        damaged = [
            f"{self.names[i * CHUNK]} to {self.names[i * CHUNK : (i + 1) * CHUNK][-1]}"
            for i, recorded in enumerate(self._index.chunks)
            if found[i] != recorded
        ]
        if damaged:
            raise AWBError(
                f"{self.folder / PIXELS} is damaged: the pixels of {shortlist(damaged, 4)} are not those that were "
                f"recorded; {_REMEDY}"
            )

    def _chunk_checksum(self, chunk: int) -> str:
        return hashlib.sha256(self._pixels[chunk * CHUNK : (chunk + 1) * CHUNK].reshape(-1).data).hexdigest()
