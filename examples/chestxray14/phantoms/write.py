"""Write phantoms as files in NIH's own layout, so that the same code reads both."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
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
from examples.chestxray14.files.folders import make_folder
from examples.chestxray14.phantoms.cases import Case
from examples.chestxray14.phantoms.phantoms import Phantoms, render_case
from examples.chestxray14.workers import run_all

DATA_ENTRY, BOXES, IMAGES = "Data_Entry_2017_synthetic.csv", "BBox_List_2017.csv", "images"
TRAIN_VAL, TEST = "train_val_list.txt", "test_list.txt"
# raise it with any change of the pixels: folders drawn by another painter are refused, so that images never mix
PAINTER = 1
# earlier versions signed with a SHA-256 of their source files; these drew what painter 1 draws
_CODE_OF_PAINTER_1 = frozenset(
    (
        "d63e3c20d998e0a27d80aa41132e01507d30f84c2f856d532b696aae0898bff6",
        "c948dce8e37143324a50a8c8f8e028a3b4cc082f990ea5993d036efa57486d4d",
        "f2b3806ba5dad9293266186d6dbebfc4a61327f854f2543baf847f5363b251aa",
        "2df214f0fcf354fe07be27f7c6116475ec105fc66d0c36fdb5cecfdfaddc75ee",
    )
)
_HEADER = (
    "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position",
    "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]",
)  # fmt: skip


def write_phantoms(
    phantoms: Phantoms, folder: str | Path, size: int = 256, *, workers: int | None = None, progress: bool = True
) -> None:
    """Write labels, boxes, two lists of names (patients split 80/20 %), and images as PNG.

    Images that exist already are kept: they are written atomically, and depend on the seed only.

    Args:
        phantoms: Phantoms to write.
        folder: Folder to write to; created if missing.
        size: Side of the images in pixels.
        workers: Number of processes that draw, one per core by default; 1 is this process.
        progress: Show a progress bar if there is a terminal.

    Raises:
        AWBError: The folder has anything else, such as phantoms of another seed, size or painter.
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
    """Mark a folder as synthetic, and refuse one whose images have another seed, size or painter."""
    signature = {"synthetic": True, "seed": seed, "size": size, "painter": PAINTER}
    path = folder / SIGNATURE
    if path.exists():
        _require_same(folder, _read_signature(path), signature)
        return
    make_folder(folder)
    if any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise AWBError(f"{folder} has other files; give a new folder")
    write_atomically(path, json.dumps(signature).encode(), shared=True)


def _read_signature(path: Path) -> dict[str, object]:
    """Signature of a folder; an earlier version's gets the number of its painter, or None if that is unknown."""
    try:
        signature = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise AWBError(f"{path} is damaged; give another folder, or delete this one") from None
    if "drawn by" in signature:
        signature["painter"] = 1 if signature.pop("drawn by") in _CODE_OF_PAINTER_1 else None
    return signature


def _require_same(folder: Path, found: Mapping[str, object], expected: Mapping[str, object]) -> None:
    differing = [name for name in ("seed", "size", "painter") if found.get(name) != expected[name]]
    if differing == ["painter"]:
        raise AWBError(
            f"{folder} holds phantoms of another version, whose images may look different; give another folder, or "
            "delete this one"
        )
    if differing:
        names = " and ".join(f"{name} {found.get(name)}, not {expected[name]}" for name in differing)
        raise AWBError(f"{folder} holds phantoms of {names}; give another folder, or delete this one")


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
