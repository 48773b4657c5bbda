"""Boxes around findings: NIH's `BBox_List_2017.csv`, or any file like it, in pixels of the 1024×1024 originals."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from awb import AWBError
from awb.errors import did_you_mean
from awb.study import open_text
from examples.chestxray14.data.nih import FINDINGS

ORIGINAL_SIZE = 1024
_HEADER = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")  # as in NIH's file: commas split the bracket
_OTHER_NAMES = {"Infiltrate": "Infiltration"}  # names of findings that only this file uses


@dataclass(frozen=True)
class Box:
    """Rectangle around a finding in an image: upper left corner, width and height in pixels."""

    image: str
    finding: str
    x: float
    y: float
    width: float
    height: float

    def scaled(self, factor: float) -> Box:
        return replace(
            self, x=self.x * factor, y=self.y * factor, width=self.width * factor, height=self.height * factor
        )

    def cropped(self, size: int, border: int) -> Box | None:
        """The part in a crop, in its pixels; None if there is none."""
        left, top = max(0.0, self.x - border), max(0.0, self.y - border)
        right, bottom = min(size, self.x - border + self.width), min(size, self.y - border + self.height)
        if left >= right or top >= bottom:
            return None
        return replace(self, x=left, y=top, width=right - left, height=bottom - top)


@dataclass(frozen=True)
class Boxes:
    """Boxes of square images with a side of `size` pixels."""

    size: int
    boxes: tuple[Box, ...]

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[Box]:
        return iter(self.boxes)

    def scaled_to(self, size: int) -> Boxes:
        """Boxes for the same images at another size, such as an image store's."""
        return Boxes(size, tuple(box.scaled(size / self.size) for box in self.boxes))

    def cropped_to(self, size: int, border: int) -> Boxes:
        """Boxes in a crop of `size` pixels, cut at its edges; those that lie outside it are left out.

        Args:
            size: Side of the crop.
            border: Pixels that it cuts off at the left and at the top.
        """
        return Boxes(size, tuple(box for box in (one.cropped(size, border) for one in self.boxes) if box is not None))

    def of(self, images: Iterable[str]) -> Boxes:
        """Boxes of some images."""
        wanted = set(images)
        return Boxes(self.size, tuple(box for box in self.boxes if box.image in wanted))

    def of_findings(self, findings: Iterable[str]) -> Boxes:
        """Boxes of some findings."""
        wanted = set(findings)
        return Boxes(self.size, tuple(box for box in self.boxes if box.finding in wanted))


def read_boxes(path: str | Path) -> Boxes:
    """Read NIH's box list, plain or gzipped. Its `Infiltrate` becomes `Infiltration`, as in the label file.

    Raises:
        AWBError: No such file or column; or, with the line, a row that is cut short, an unknown finding, or a box that
            is empty or extends beyond the image.
    """
    with open_text(path) as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if tuple(header[: len(_HEADER)]) != _HEADER:
            raise AWBError(f"{path} begins with {','.join(header)!r}; expected NIH's {','.join(_HEADER)!r}")
        boxes = [_box(f"{path}, line {reader.line_num}", row) for row in reader if row]
    return Boxes(ORIGINAL_SIZE, tuple(boxes))


def write_boxes(path: str | Path, boxes: Boxes) -> None:
    """Write boxes in the layout of NIH's file, including its empty columns."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*_HEADER, "", "", ""))
        for box in boxes.scaled_to(ORIGINAL_SIZE):
            numbers = (f"{number:.4f}" for number in (box.x, box.y, box.width, box.height))
            writer.writerow((box.image, box.finding, *numbers, "", "", ""))


def _box(where: str, row: list[str]) -> Box:
    if len(row) < len(_HEADER):
        raise AWBError(
            f"{where}: {len(row)} cells; beside image and finding, expected four numbers, x, y, width and height"
        )
    image, name, *numbers = row[: len(_HEADER)]
    if not image or not image.isprintable():
        raise AWBError(f"{where}: {image!r} for an image; expected the name of a file")
    finding = _OTHER_NAMES.get(name, name)
    if finding not in FINDINGS:
        raise AWBError(f"{where}: unknown finding {name!r}{did_you_mean(name, FINDINGS)}")
    try:
        x, y, width, height = map(float, numbers)
    except ValueError:
        raise AWBError(f"{where}: {numbers} for a box; expected four numbers, x, y, width and height") from None
    inside = x >= 0 and y >= 0 and max(x + width, y + height) <= ORIGINAL_SIZE
    if not (inside and width > 0 and height > 0):
        raise AWBError(
            f"{where}: x {x:g}, y {y:g}, width {width:g}, height {height:g} is not a box in {ORIGINAL_SIZE} pixels"
        )
    return Box(image, finding, x, y, width, height)
