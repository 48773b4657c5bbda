"""Pictures: maps over the grey image, boxes around findings, and sheets of them."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from awb import AWBError
from awb.errors import shortlist
from examples.chestxray14.data.boxes import Box, Boxes
from examples.chestxray14.data.nih import FINDINGS
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.explanation.cases import Case, Map
from examples.chestxray14.explanation.maps import Inputs, MapMaker, case_maps
from examples.chestxray14.files.atomic import write_atomically

OPACITY = 0.55  # at the map's maximum; less of the map is more transparent
MARGIN = 20  # pixels of a caption
_BOX, _TEXT, _SHADE = (0, 255, 120), (255, 255, 255), (0, 0, 0)
_PAPER, _INK = (255, 255, 255), (0, 0, 0)
_EMPTY = "empty map"
_SIDE = 256  # pixels of a picture of example boxes
_FONT = ImageFont.load_default(14)
_LETTER = 8  # usual width of a caption's letter in pixels


def overlay(image: Image.Image, saliency: Map | None = None, boxes: Iterable[Box] = ()) -> Image.Image:
    """Draw a map over an image, coloured by the share of its maximum, and boxes over both.

    Args:
        image: Grey image.
        saliency: Map (h, w), not negative, enlarged bilinearly to the image. None leaves the image grey, and so does
            a map that is all 0, which is labelled as empty.
        boxes: Boxes in pixels of the image.
    """
    picture = image.convert("RGB")
    if saliency is not None and saliency.max() > 0:
        from matplotlib import colormaps

        share = Image.fromarray((saliency / saliency.max()).astype(np.float32))
        shares = np.asarray(share.resize(image.size, Image.Resampling.BILINEAR))
        alpha = (OPACITY * shares)[:, :, None]
        colours = 255 * colormaps["inferno"](0.35 + 0.65 * shares)[:, :, :3]
        picture = Image.fromarray(((1 - alpha) * np.asarray(picture) + alpha * colours).round().astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    if saliency is not None and saliency.max() == 0:
        at = (image.width / 2, image.height - 8)
        draw.rectangle(draw.textbbox(at, _EMPTY, _FONT, anchor="mm"), fill=_SHADE)
        draw.text(at, _EMPTY, fill=_TEXT, font=_FONT, anchor="mm")
    for box in boxes:
        draw.rectangle([box.x, box.y, box.x + box.width - 1, box.y + box.height - 1], outline=_BOX)
    return picture


def overlays(
    makers: Sequence[MapMaker], inputs: Inputs, cases: Sequence[Case], enlarged: int | None = None
) -> Iterator[list[Image.Image]]:
    """Pictures of each case: the image with its boxes, then each map over it.

    Args:
        makers: Maps to draw (`map_makers`).
        inputs: Inputs of all networks; images are shown at the networks' size.
        cases: Cases, with boxes or without.
        enlarged: Factor by which each side is enlarged; by default up to about 224 pixels.
    """
    enlarged = enlarged or max(1, 224 // inputs.transform.size)
    size = inputs.transform.size * enlarged
    maps = [list(case_maps(cases, inputs, one.method)) for one in makers]
    for row, case in enumerate(cases):
        image = inputs.picture(case.image, size)
        boxes = [box.scaled(enlarged) for box in case.boxes]
        yield [overlay(image, None, boxes), *(overlay(image, some[row], boxes) for some in maps)]


def captions(makers: Sequence[MapMaker]) -> list[str]:
    """Captions of the pictures that `overlays` makes of a case."""
    return ["image", *(one.name for one in makers)]


def sheet(rows: Sequence[tuple[str, Sequence[Image.Image]]], columns: Sequence[str]) -> Image.Image:
    """Arrange pictures in a grid, with a caption above each column and on each row's first picture.

    Args:
        rows: Caption and pictures of each row; all pictures have one size, one per column.
        columns: Captions of the columns.
    """
    side = rows[0][1][0].width
    page = Image.new("RGB", (side * len(columns), MARGIN + side * len(rows)), _SHADE)
    draw = ImageDraw.Draw(page)
    for column, caption in enumerate(columns):
        draw.text((side * column + 3, 1), caption, fill=_TEXT, font=_FONT)
        for row, (_, pictures) in enumerate(rows):
            page.paste(pictures[column], (side * column, MARGIN + side * row))
    for row, (caption, _) in enumerate(rows):
        at = (3, MARGIN + side * row + 2)
        draw.rectangle(draw.textbbox(at, caption, _FONT), fill=_SHADE)
        draw.text(at, caption, fill=_TEXT, font=_FONT)
    return page


def example_boxes(
    store: ImageStore, boxes: Boxes, title: str, findings: Sequence[str] = FINDINGS, columns: int = 5
) -> Image.Image:
    """A sheet with one image per finding and its boxes: the first image by name that has one.

    Args:
        store: Image store with some of the boxes' images.
        boxes: Boxes at any size.
        title: Title above the sheet.
        findings: Findings in the order wanted; those without a box are named below.
        columns: Pictures per row.

    Raises:
        AWBError: No image of the store has a box of any of the findings.
    """
    chosen = first_boxed(boxes.scaled_to(_SIDE).of(store.names), findings)
    if not chosen:
        raise AWBError(f"no image of the store {store.folder} has a box of {shortlist(findings, 20)}")
    pictures = [_boxed(store, some) for some in chosen.values()]
    names = [f"{finding}, {some[0].image}" for finding, some in chosen.items()]
    strips = []
    for start in range(0, len(pictures), columns):
        row = slice(start, start + columns)
        strips.append(sheet([("", pictures[row])], names[row]))
    missing = ", ".join(finding for finding in findings if finding not in chosen)
    return _stack(strips, title, f"No box: {missing}" if missing else "")


def first_boxed(boxes: Iterable[Box], findings: Sequence[str]) -> dict[str, tuple[Box, ...]]:
    """Boxes of each boxed finding on the first of its images by name."""
    first: dict[str, tuple[Box, ...]] = {}
    boxes = tuple(boxes)
    for finding in findings:
        image = min((box.image for box in boxes if box.finding == finding), default=None)
        if image is not None:
            first[finding] = tuple(box for box in boxes if (box.image, box.finding) == (image, finding))
    return first


def beside(pages: Sequence[Image.Image], gap: int) -> Image.Image:
    """Pictures beside each other, at the top, on white paper with a gap in pixels between them."""
    width = sum(page.width for page in pages) + gap * (len(pages) - 1)
    whole, x = Image.new("RGB", (width, max(page.height for page in pages)), _PAPER), 0
    for page in pages:
        whole.paste(page, (x, 0))
        x += page.width + gap
    return whole


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG, or a JPEG if the name ends so, atomically, even if other processes write it too."""
    data = io.BytesIO()
    if path.suffix == ".jpg":
        picture.save(data, format="JPEG", quality=88, subsampling=0, optimize=True)
    else:
        picture.save(data, format="PNG")
    write_atomically(path, data.getvalue(), shared=True)


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
        draw.text((3, y + 1), line, fill=_INK, font=_FONT)
        y += MARGIN
    for strip in strips:
        page.paste(strip, (0, y))
        y += strip.height
    for line in below:
        draw.text((3, y + 1), line, fill=_INK, font=_FONT)
        y += MARGIN
    return page
