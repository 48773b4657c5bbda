"""Decode images into an image store with worker processes; if killed, the next run continues.

Chunks of images are decoded in any order into a file that has its full length from the start. When a chunk is on the
disk, its checksum is appended to a journal; when all are, the index is written and the journal removed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TextIO

from tqdm import tqdm

from awb import AWBError
from awb.errors import shortlist
from examples.chestxray14.data.decode import Decoding, decode_and_look
from examples.chestxray14.data.store import (
    CHUNK,
    INDEX,
    PIXELS,
    ImageStore,
    Index,
    read_index,
    write_index,
)
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.files.folders import make_folder
from examples.chestxray14.files.locks import wait_for_lock
from examples.chestxray14.workers import run_all

_PLAN, _JOURNAL, _UNREADABLE, _LOCK = "plan.json", "journal.jsonl", "unreadable.txt", ".lock"
_IN_COLOUR = "in-colour.txt"


class _Job(NamedTuple):
    """A chunk to decode."""

    chunk: int
    paths: tuple[str, ...]
    decoding: Decoding
    pixels: str


class _Result(NamedTuple):
    """Checksum of a decoded chunk, empty if there are failures: positions in the chunk, and why.

    `in_colour` has the positions of images whose files are in colour.
    """

    chunk: int
    sha256: str
    failures: tuple[tuple[int, str], ...]
    in_colour: tuple[int, ...] = ()


class _Chunk(NamedTuple):
    """A line of the journal: the checksums of a chunk and its files, and positions of images in colour."""

    sha256: str
    source: str
    in_colour: tuple[int, ...] = ()


def build_store(
    images: Mapping[str, str | Path],
    folder: str | Path,
    size: int = 224,
    *,
    colour: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> ImageStore:
    """Decode images into an image store, finish one that was begun, or open one that is finished.

    A second process with the same folder waits for the first. Worker processes are spawned: see `run_all`.

    Args:
        images: File of each image, by the image's name.
        folder: Folder of the image store; created if missing.
        size: Side of the stored squares in pixels.
        colour: Keep three channels. Otherwise images in colour become grey, and `in-colour.txt` names them.
        workers: Number of processes that decode, one per core by default; 1 is this process.
        progress: Show a progress bar if there is a terminal.

    Raises:
        AWBError: The folder has other images, another size or other channels; or files cannot be decoded:
            `unreadable.txt` then lists all of them, and the error the first.
    """
    if not images:
        raise AWBError("no images to decode")
    if size < 1:
        raise AWBError(f"size {size}; expected the side of an image in pixels")
    folder, names = Path(folder), list(images)
    make_folder(folder)
    with _alone(folder):
        paths = [str(path) for path in images.values()]
        chunks = [slice(i, i + CHUNK) for i in range(0, len(names), CHUNK)]
        sources = [_source(names[rows], paths[rows]) for rows in chunks]
        if (folder / INDEX).exists():
            _require_same(folder, read_index(folder), Index(size, tuple(names), (), tuple(sources), colour))
            return ImageStore(folder)
        plan = Index(size, tuple(names), (), (), colour)
        _begin(folder, plan)
        done = _read_journal(folder, plan, sources)
        pixels = str(folder / PIXELS)
        jobs = [_Job(i, tuple(paths[rows]), plan.decoding, pixels) for i, rows in enumerate(chunks) if i not in done]
        failures = []
        bar = tqdm(total=len(names), desc="decoding", unit=" images", disable=None if progress else True)
        bar.update(len(names) - sum(len(job.paths) for job in jobs))
        with bar, (folder / _JOURNAL).open("a", encoding="utf-8") as journal:
            for result in run_all(_decode_chunk, jobs, workers):
                rows = chunks[result.chunk]
                bar.update(len(names[rows]))
                failures += [(names[rows][i], f"{paths[rows][i]}: {why}") for i, why in result.failures]
                if not result.failures:
                    done[result.chunk] = _Chunk(result.sha256, sources[result.chunk], result.in_colour)
                    _append(journal, {"chunk": result.chunk, **done[result.chunk]._asdict()})
        if failures:
            _refuse_unreadable(folder, sorted(failures), len(names))
        if not colour:
            _name_those_in_colour(folder, [names[rows][i] for c, rows in enumerate(chunks) for i in done[c].in_colour])
        checksums = tuple(done[i].sha256 for i in range(len(chunks)))
        write_index(folder, replace(plan, chunks=checksums, sources=tuple(sources)))
        for name in (_PLAN, _JOURNAL, _UNREADABLE):
            (folder / name).unlink(missing_ok=True)
    return ImageStore(folder)


def _decode_chunk(job: _Job) -> _Result:
    """Decode a chunk into its place in the file of pixels, and flush it to the disk."""
    images, failures, in_colour = [], [], []
    for i, path in enumerate(job.paths):
        try:
            image = decode_and_look(path, job.decoding)
        except AWBError as error:
            failures.append((i, str(error)))
            continue
        images.append(image.pixels.tobytes())
        in_colour += [i] if image.in_colour else []
    if failures:
        return _Result(job.chunk, "", tuple(failures))
    pixels = b"".join(images)
    with open(job.pixels, "r+b") as file:
        file.seek(job.chunk * CHUNK * math.prod(job.decoding.shape))
        file.write(pixels)
        file.flush()
        os.fsync(file.fileno())
    return _Result(job.chunk, hashlib.sha256(pixels).hexdigest(), (), tuple(in_colour))


def _source(names: Sequence[str], paths: Sequence[str]) -> str:
    """SHA-256 of a chunk's names and file sizes, so that different files under the same names are noticed."""
    lines = []
    for name, path in zip(names, paths, strict=True):
        if not os.path.isfile(path):
            raise AWBError(f"no file {path} for image {name!r}")
        lines.append(f"{name}\t{os.path.getsize(path)}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _begin(folder: Path, plan: Index) -> None:
    """Record the images to decode, or compare them with the earlier record."""
    path = folder / _PLAN
    if path.exists():
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
            begun = Index(old["size"], tuple(old["names"]), (), (), old.get("colour", False))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise AWBError(f"{path} is damaged; delete the image store, and prepare it again") from None
        _require_same(folder, begun, plan)
    else:
        if any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise AWBError(f"{folder} has other files and no image store; give a new folder")
        content = {"size": plan.size, "names": list(plan.names), "colour": plan.colour}
        write_atomically(path, json.dumps(content).encode(), shared=True)
    pixels, length = folder / PIXELS, len(plan.names) * plan.image_bytes
    if not pixels.exists() or pixels.stat().st_size != length:
        (folder / _JOURNAL).unlink(missing_ok=True)
        with pixels.open("wb") as file:
            file.truncate(length)


def _require_same(folder: Path, old: Index, new: Index) -> None:
    advice = "give another folder, or delete this one"
    if old.size != new.size:
        raise AWBError(f"{folder} is an image store of {old.size} pixels, not {new.size}; {advice}")
    if old.colour != new.colour:
        kinds = {False: "grey images", True: "images in colour"}
        raise AWBError(f"{folder} is an image store of {kinds[old.colour]}, not of {kinds[new.colour]}; {advice}")
    if old.names != new.names:
        differing = sorted(set(old.names) ^ set(new.names))
        how = f"{len(differing):,} differ: {shortlist(differing, 4)}" if differing else "they come in another order"
        raise AWBError(
            f"{folder} is an image store of {len(old.names):,} images, not of these {len(new.names):,} ({how}); "
            f"{advice}"
        )
    if old.sources != new.sources:
        raise AWBError(f"{folder} was made from files of other lengths under the same names; {advice}")


def _read_journal(folder: Path, plan: Index, sources: Sequence[str]) -> dict[int, _Chunk]:
    """Chunks that were decoded from the same files and are still intact on the disk."""
    path = folder / _JOURNAL
    done: dict[int, _Chunk] = {}
    if not path.exists():
        return done
    with (folder / PIXELS).open("rb") as pixels:
        for line in path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                chunk = _Chunk(entry["sha256"], entry["source"], tuple(entry.get("in_colour", ())))
                number = entry["chunk"]
            except (ValueError, KeyError, TypeError, AttributeError):  # cut short by a power failure, or damaged
                continue
            if number not in range(len(sources)) or chunk.source != sources[number]:
                continue
            pixels.seek(number * CHUNK * plan.image_bytes)
            content = pixels.read(min(CHUNK, len(plan.names) - number * CHUNK) * plan.image_bytes)
            if hashlib.sha256(content).hexdigest() == chunk.sha256:
                done[number] = chunk
    return done


def _append(journal: TextIO, entry: dict[str, object]) -> None:
    journal.write(json.dumps(entry) + "\n")
    journal.flush()
    os.fsync(journal.fileno())


def read_those_in_colour(folder: str | Path) -> list[str]:
    """Names of the images of a grey store whose files are in colour; none of stores of earlier versions are known."""
    path = Path(folder) / _IN_COLOUR
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _name_those_in_colour(folder: Path, names: Sequence[str]) -> None:
    if names:
        write_atomically(folder / _IN_COLOUR, "".join(f"{name}\n" for name in names).encode(), shared=True)


def _refuse_unreadable(folder: Path, failures: Sequence[tuple[str, str]], n_images: int) -> None:
    path = folder / _UNREADABLE
    write_atomically(path, "".join(f"{name}\t{why}\n" for name, why in failures).encode(), shared=True)
    listed = "\n".join(f"  {why}" for _, why in failures[:20])
    more = f"\n  … ({len(failures) - 20:,} more)" if len(failures) > 20 else ""
    raise AWBError(
        f"{len(failures):,} of {n_images:,} images cannot be read (all are listed in {path}):\n{listed}{more}\n"
        "Replace these files and run this again; the other images are kept"
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process builds this image store; the lock is freed when its process ends, however it does."""
    with wait_for_lock(folder / _LOCK):
        yield
