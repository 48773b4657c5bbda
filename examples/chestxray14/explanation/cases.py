"""Cases: a finding of an image, with its boxes where there are any. A map is made, drawn and measured per case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from awb import AWBError
from awb.errors import shortlist
from awb.study import LabelTable
from examples.chestxray14.data.boxes import Box, Boxes
from examples.chestxray14.data.store import ImageStore

Map = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """A finding of an image.

    Attributes:
        image: Name of the image.
        finding: The finding.
        patient: The patient; empty where no interval needs it.
        boxes: Boxes of the finding; empty where there are none.
    """

    image: str
    finding: str
    patient: str
    boxes: tuple[Box, ...]


def find_cases(boxes: Boxes, table: LabelTable) -> tuple[Case, ...]:
    """Boxed findings of the images in a table, in the order of the boxes. Boxes on other images are left out.

    Raises:
        AWBError: The table has no patients, none of its images has a box, or it has no such finding.
    """
    if table.groups is None:
        raise AWBError("the table has no patients (groups), which the intervals draw")
    unknown = sorted({box.finding for box in boxes} - set(table.classes))
    if unknown:
        raise AWBError(f"boxes of {shortlist(unknown)}, which the table does not have: {shortlist(table.classes, 20)}")
    patients = dict(zip(table.images.tolist(), table.groups.tolist(), strict=True))
    together: dict[tuple[str, str], list[Box]] = {}
    for box in boxes.of(patients):
        together.setdefault((box.image, box.finding), []).append(box)
    if not together:
        raise AWBError(f"none of the {len(boxes):,} boxes is on any of the table's {len(table):,} images")
    return tuple(
        Case(image, finding, str(patients[image]), tuple(on_image)) for (image, finding), on_image in together.items()
    )


def keep_usable(table: LabelTable, store: ImageStore, held_out: frozenset[str] | None) -> LabelTable:
    """Rows of a table whose images are in the store and were seen by no run.

    Args:
        table: Labels; the store may have some of their images only.
        store: Image store.
        held_out: Images in the test set of every run; None for networks that are not runs.

    Raises:
        AWBError: No row is left.
    """
    names = table.images.tolist()
    rows = [row for row, name in enumerate(names) if name in store and (held_out is None or name in held_out)]
    if not rows:
        where = "" if held_out is None else " and in the test set of every run"
        raise AWBError(f"none of the table's {len(table):,} images is in the store {store.folder}{where}")
    return table.take(rows)


def evenly_spaced(cases: Sequence[Case], number: int) -> list[Case]:
    """Some of the cases, or all if there are fewer, at even distances from the first on."""
    number = min(number, len(cases))
    return [cases[i * len(cases) // number] for i in range(number)]


def box_mask(boxes: Iterable[Box], size: int) -> Mask:
    """Mask of the pixels whose centres lie in any of the boxes, bool (size, size).

    Args:
        boxes: Boxes in pixels of the same image.
        size: Side of the image in pixels.

    Raises:
        AWBError: A box contains no pixel's centre: the image is too small for it.
    """
    centres = np.arange(size) + 0.5
    mask = np.zeros((size, size), dtype=bool)
    for box in boxes:
        across = (centres >= box.x) & (centres < box.x + box.width)
        down = (centres >= box.y) & (centres < box.y + box.height)
        if not (across.any() and down.any()):
            raise AWBError(
                f"{box.image}: the box of {box.finding}, {box.width:.2g}×{box.height:.2g} pixels, holds none of the "
                f"{size}×{size} pixels; measure on larger images"
            )
        mask |= down[:, None] & across
    return mask
