"""Maps as pictures: over the grey image, with the box around the finding."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from examples.chestxray14.data.boxes import Box
from examples.chestxray14.explanation.localisation import Map
from examples.chestxray14.files.atomic import write_atomically

OPACITY = 0.55  # of the map's maximum; less of it is more transparent
_BOX, _TEXT, _SHADE = (0, 255, 120), (255, 255, 255), (0, 0, 0)
_EMPTY = "empty map"
MARGIN = 14  # pixels of a caption


def overlay(image: Image.Image, saliency: Map | None = None, boxes: Iterable[Box] = ()) -> Image.Image:
    """A map over an image, in colours of its own share of its maximum, and boxes over both.

    Args:
        image: Grey.
        saliency: (h, w), not negative, enlarged bilinearly to the image; None leaves the image grey. One
            that is all 0 does too, and is said to be empty: there is nothing to colour.
        boxes: In pixels of the image.
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
        draw.rectangle(draw.textbbox(at, _EMPTY, anchor="mm"), fill=_SHADE)
        draw.text(at, _EMPTY, fill=_TEXT, anchor="mm")
    for box in boxes:
        draw.rectangle([box.x, box.y, box.x + box.width - 1, box.y + box.height - 1], outline=_BOX)
    return picture


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all, whoever else writes it."""
    data = io.BytesIO()
    picture.save(data, format="PNG")
    write_atomically(path, data.getvalue(), shared=True)


def sheet(rows: Sequence[tuple[str, Sequence[Image.Image]]], columns: Sequence[str]) -> Image.Image:
    """Pictures in a grid, a caption above each column and on each row's first picture.

    Args:
        rows: Captions, and as many pictures of one size as there are columns.
        columns: Their captions.
    """
    side = rows[0][1][0].width
    page = Image.new("RGB", (side * len(columns), MARGIN + side * len(rows)), _SHADE)
    draw = ImageDraw.Draw(page)
    for column, caption in enumerate(columns):
        draw.text((side * column + 3, 1), caption, fill=_TEXT)
        for row, (_, pictures) in enumerate(rows):
            page.paste(pictures[column], (side * column, MARGIN + side * row))
    for row, (caption, _) in enumerate(rows):
        at = (3, MARGIN + side * row + 2)
        draw.rectangle(draw.textbbox(at, caption), fill=_SHADE)
        draw.text(at, caption, fill=_TEXT)
    return page
