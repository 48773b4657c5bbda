"""What the findings look like: a sheet of one image each, with its boxes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw

from awb import AWBError
from awb.errors import shortlist
from examples.chestxray14.data.boxes import Box, Boxes
from examples.chestxray14.data.nih import FINDINGS
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.explanation.overlay import MARGIN, overlay, sheet

_SIDE = 256  # pixels of a picture
_LETTER = 6  # pixels of a caption's letter, as a rule
_PAPER, _INK = (255, 255, 255), (0, 0, 0)


def example_boxes(
    store: ImageStore, boxes: Boxes, title: str, findings: Sequence[str] = FINDINGS, columns: int = 5
) -> Image.Image:
    """An image a finding with its boxes: of the images in the store that have one, the first by name.

    Args:
        store: Some of the boxes' images.
        boxes: At any size.
        title: Above.
        findings: In their order; those without a box are named below.
        columns: Pictures in a row.

    Raises:
        AWBError: No box of any of the findings is on an image of the store.
    """
    chosen = first_boxed(boxes.scaled_to(_SIDE).of(store.names), findings)
    if not chosen:
        raise AWBError(f"no image of the store {store.folder} has a box of {shortlist(findings, 20)}")
    pictures = [_boxed(store, of) for of in chosen.values()]
    captions = [f"{finding}, {of[0].image}" for finding, of in chosen.items()]
    strips = []
    for start in range(0, len(pictures), columns):
        some = slice(start, start + columns)
        strips.append(sheet([("", pictures[some])], captions[some]))
    missing = ", ".join(finding for finding in findings if finding not in chosen)
    return _stack(strips, title, f"No box: {missing}" if missing else "")


def first_boxed(boxes: Iterable[Box], findings: Sequence[str]) -> dict[str, tuple[Box, ...]]:
    """Of each finding that has a box, the boxes on the first of its images by name."""
    first: dict[str, tuple[Box, ...]] = {}
    boxes = tuple(boxes)
    for finding in findings:
        image = min((box.image for box in boxes if box.finding == finding), default=None)
        if image is not None:
            first[finding] = tuple(box for box in boxes if (box.image, box.finding) == (image, finding))
    return first


def _boxed(store: ImageStore, boxes: Sequence[Box]) -> Image.Image:
    image = Image.fromarray(store[boxes[0].image]).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return overlay(image, None, boxes)


def _stack(strips: Sequence[Image.Image], title: str, note: str) -> Image.Image:
    """Strips below each other, with a title above and a note below."""
    width = max(strip.width for strip in strips)
    above, below = (textwrap.wrap(text, width // _LETTER) for text in (title, note))
    height = MARGIN * (len(above) + len(below)) + sum(strip.height for strip in strips)
    page = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(page)
    y = 0
    for line in above:
        draw.text((3, y + 1), line, fill=_INK)
        y += MARGIN
    for strip in strips:
        page.paste(strip, (0, y))
        y += strip.height
    for line in below:
        draw.text((3, y + 1), line, fill=_INK)
        y += MARGIN
    return page
