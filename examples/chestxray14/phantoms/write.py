"""Write phantoms as files in NIH's own layout, so that everything reads them as it reads NIH's.

python -m examples.chestxray14.phantoms.write FOLDER [--patients 300] [--size 256] [--seed 0]
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
from functools import partial
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from awb import AWBError
from awb.study import split_by_group
from examples.chestxray14.data.boxes import write_boxes
from examples.chestxray14.data.nih import NO_FINDING
from examples.chestxray14.data.origin import SIGNATURE
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.phantoms.cases import Case
from examples.chestxray14.phantoms.phantoms import Phantoms, draw_phantoms, render_case
from examples.chestxray14.workers import run_all

DATA_ENTRY, BOXES, IMAGES = "Data_Entry_2017_synthetic.csv", "BBox_List_2017.csv", "images"
TRAIN_VAL, TEST = "train_val_list.txt", "test_list.txt"
_HEADER = (
    "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position",
    "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]",
)  # fmt: skip


def write_phantoms(
    phantoms: Phantoms, folder: str | Path, size: int = 256, *, workers: int | None = None, progress: bool = True
) -> None:
    """Write labels, boxes, two lists of names (patients parted 80/20 %), and images as PNG.

    An image that is there already is kept: it is written whole or not at all, and is a function of the seed.

    Args:
        phantoms: What to write.
        folder: Made if it is not there.
        size: Side of the images in pixels.
        workers: Processes that draw, as many as there are cores by default; 1 is this process.
        progress: Show a bar, if there is a terminal.

    Raises:
        AWBError: The folder holds anything else, phantoms of another seed or size included.
    """
    folder = Path(folder)
    _sign(folder, phantoms.seed, size)
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    _write_labels(folder / DATA_ENTRY, phantoms.cases, size)
    write_boxes(folder / BOXES, phantoms.boxes)
    split = split_by_group(phantoms.table, {"train_val": 0.8, "test": 0.2}, phantoms.seed)
    for name, file in (("train_val", TRAIN_VAL), ("test", TEST)):
        (folder / file).write_text("".join(f"{image}\n" for image in split.sets[name]), encoding="utf-8")
    draw = partial(_write_image, folder / IMAGES, phantoms.seed, size)
    missing = [case for case in phantoms.cases if not (folder / IMAGES / case.image).exists()]
    for _ in tqdm(
        run_all(draw, missing, workers),
        total=len(missing), desc="drawing", unit=" images", disable=None if progress else True,
    ):  # fmt: skip
        pass


def _sign(folder: Path, seed: int, size: int) -> None:
    """Mark a folder as synthetic, and refuse one whose images would not be those of this seed, size and code."""
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.[pc]*"))))
    signature = {"synthetic": True, "seed": seed, "size": size, "drawn by": code.hexdigest()}
    path = folder / SIGNATURE
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != signature:
        raise AWBError(f"{folder} holds phantoms of another seed, size or version; give another folder, or delete it")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise AWBError(f"{folder} holds other files; give a new folder")
        write_atomically(path, json.dumps(signature).encode(), shared=True)


def _write_labels(path: Path, cases: tuple[Case, ...], size: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        for c in cases:
            findings = "|".join(c.findings) or NO_FINDING
            writer.writerow((c.image, findings, c.follow_up, c.patient, c.age, c.sex, c.view, size, size, 0, 0))


def _write_image(folder: Path, seed: int, size: int, case: Case) -> None:
    data = io.BytesIO()
    Image.fromarray(render_case(case, seed, size)).save(data, format="PNG", compress_level=1)
    write_atomically(folder / case.image, data.getvalue(), shared=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--size", type=int, default=256, help="side of the images in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=None)
    args = parser.parse_args()
    phantoms = draw_phantoms(args.patients, args.seed)
    write_phantoms(phantoms, args.folder, args.size, workers=args.workers)
    print(f"{len(phantoms):,} synthetic images of {args.patients:,} patients in {args.folder}")


if __name__ == "__main__":
    main()
