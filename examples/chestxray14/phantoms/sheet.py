"""Sheet with one phantom per finding and its box: `python -m examples.chestxray14.phantoms.sheet FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from examples.chestxray14.data.nih import FINDINGS, NO_FINDING
from examples.chestxray14.phantoms.cases import Case
from examples.chestxray14.phantoms.phantoms import Phantoms

COLUMNS = 5
_BOX, _TEXT = (255, 110, 0), (255, 230, 0)


def draw_sheet(size: int = 192, seed: int = 0) -> Image.Image:
    """Draw 15 phantoms of different patients: no finding and each of the 14, with boxes around localised ones."""
    cases = [
        Case(patient, 0, () if name == NO_FINDING else (name,), 0, "AP" if patient % 3 == 0 else "PA", sex, age)
        for patient, name, sex, age in zip(
            range(1, 16), (NO_FINDING, *FINDINGS), "MF" * 8, range(30, 90, 4), strict=False
        )
    ]
    phantoms = Phantoms(seed, tuple(cases))
    sheet = Image.new("RGB", (COLUMNS * size, -(-len(cases) // COLUMNS) * size))
    for row, case in enumerate(cases):
        tile = Image.fromarray(phantoms.render(row, size)).convert("RGB")
        draw = ImageDraw.Draw(tile)
        for box in phantoms.boxes.scaled_to(size).of([case.image]):
            draw.rectangle([box.x, box.y, box.x + box.width, box.y + box.height], outline=_BOX)
        draw.text((4, 3), (case.findings or (NO_FINDING,))[0], fill=_TEXT)
        sheet.paste(tile, (row % COLUMNS * size, row // COLUMNS * size))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="an image to write")
    parser.add_argument("--size", type=int, default=192, help="side of each phantom in pixels")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw_sheet(args.size, args.seed).save(args.file, quality=85)


if __name__ == "__main__":
    main()
