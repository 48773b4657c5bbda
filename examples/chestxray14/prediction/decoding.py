"""How a run's images were decoded, so that new files are decoded in the same way."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from awb import AWBError
from examples.chestxray14.data.decode import Decoding
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.runs.folder import RunFolder


def run_decoding(folder: RunFolder, *, store_size: int | None = None, store: str | Path | None = None) -> Decoding:
    """Decoding of the images that a run was trained on.

    Args:
        folder: The run's folder.
        store_size: Side of its image store in pixels, for a run of before this was recorded.
        store: Its image store, in place of `store_size`.

    Raises:
        AWBError: The run does not record it and nothing is given, another size or store than the run's is given, or
            this program does not know such a decoding.
    """
    if store_size is not None and store is not None:
        raise AWBError("--store-size and --store say the same; give one of them")
    given = None if store_size is None else Decoding(store_size)
    if store is not None:
        given = _of_store(folder, store)
    recorded = folder.read_info().get("store")
    if recorded is None:
        if given is None:
            raise AWBError(
                f"{folder.info} does not say how the images were decoded, as runs of earlier versions do not; give "
                "--store FOLDER, its image store, or --store-size N, the side of its images in pixels"
            )
        return given
    decoding = _known(recorded, folder.info)
    if given is not None and given != decoding:
        raise AWBError(f"the run's image store has {decoding.size} pixels, not {given.size}; leave --store-size out")
    return decoding


def _of_store(folder: RunFolder, path: str | Path) -> Decoding:
    store = ImageStore.open(path)
    folder.require({"store": store.checksum}, store.folder)
    return store.decoding


def _known(recorded: dict[str, Any], where: Path) -> Decoding:
    """A decoding of which this program knows every field, and can do every value."""
    try:
        decoding = Decoding(**recorded)
    except TypeError as error:
        raise AWBError(f"{where}: this version does not know such an image store ({error}); use a later one") from None
    ours = asdict(Decoding(decoding.size))
    for name in ("resampling", "version"):
        if getattr(decoding, name) != ours[name]:
            raise AWBError(
                f"{where}: the images were decoded with {name} {getattr(decoding, name)!r}, and this program "
                f"decodes with {ours[name]!r}, which gives other predictions: use the version that trained the run"
            )
    return decoding
