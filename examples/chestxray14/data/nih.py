"""NIH's label file `Data_Entry_2017*.csv` and lists of images: 112,120 images of 30,805 patients, 14 findings."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from awb import AWBError
from awb.errors import did_you_mean
from awb.study import LabelTable, age_in_years, open_text, patient_key, require_commas

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
NO_FINDING = "No Finding"
NIH_DOWNLOAD = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
# the last two headers, OriginalImage[Width,Height] and OriginalImagePixelSpacing[x,y], contain commas that split them
# as they split their values: so each column is found by name, none by counting from the end
_COLUMNS = {
    "image": "Image Index", "findings": "Finding Labels", "patient": "Patient ID", "age": "Patient Age",
    "sex": "Patient Gender", "view": "View Position", "follow_up": "Follow-up #",
}  # fmt: skip


def read_data_entry(path: str | Path) -> LabelTable:
    """Read NIH's label file, plain or gzipped, of any release.

    Returns:
        Table of the 14 findings with patients as groups and the columns `view` (PA, AP), `sex` (M, F), `age` (whole
        years; empty where no human can be that old, such as the first release's 411) and `follow_up`. Rows are **in
        the order of the file**: it is not sorted by image, and the report's split depends on it.

    Raises:
        AWBError: No such file or column, a row that is too short, a cell that is not a patient's number or an age, an
            unknown finding, or "No Finding" beside a finding; with file and line.
    """
    path = Path(path)
    with open_text(path) as file:
        reader = csv.reader(file)
        header = next(reader, [])
        require_commas(path, header)
        for name in _COLUMNS.values():
            if name not in header:
                raise AWBError(f"{path} has no column {name!r}{did_you_mean(name, header)}: is it NIH's Data_Entry?")
        place = {key: header.index(name) for key, name in _COLUMNS.items()}
        rows = [_read_row(f"{path}, line {reader.line_num}", row, place, len(header)) for row in reader if row]
    if not rows:
        raise AWBError(f"{path} has no rows; expected one per image")
    try:
        return LabelTable(
            np.array([row.image for row in rows]),
            FINDINGS,
            np.array([row.findings for row in rows], dtype=np.float64),
            np.array([row.patient for row in rows]),
            {name: np.array([row.columns[name] for row in rows]) for name in ("view", "sex", "age", "follow_up")},
        )
    except AWBError as error:  # an image is named twice
        raise AWBError(f"{path}: {error}") from None


@dataclass(frozen=True)
class _Row:
    image: str
    findings: list[bool]
    patient: str
    columns: dict[str, str]


def _read_row(where: str, row: Sequence[str], place: Mapping[str, int], n_headers: int) -> _Row:
    if len(row) <= max(place.values()) or any(row[n_headers:]):  # cut short, or moved by a comma too many
        raise AWBError(f"{where}: {len(row)} cells under {n_headers} headers")
    cells = {key: row[i].strip() for key, i in place.items()}
    _require_file_name(where, cells["image"])
    patient = patient_key(cells["patient"])  # some copies write leading zeros, or 13.0
    if not patient.isdecimal():
        raise AWBError(f"{where}: patient {cells['patient']!r}; expected NIH's number")
    try:
        findings, age = _findings(cells["image"], cells["findings"]), _age(cells["age"])
    except AWBError as error:
        raise AWBError(f"{where}: {error}") from None
    columns = {"view": cells["view"], "sex": cells["sex"], "age": age, "follow_up": cells["follow_up"]}
    return _Row(cells["image"], findings, patient, columns)


def packaged_data_entry() -> Path:
    """Path of the 2020 release of the label file in torchxrayvision's wheel; the package is not imported.

    Raises:
        AWBError: The package is not installed, or this release of it no longer has the file.
    """
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        raise AWBError(
            "NIH's Data_Entry_2017_v2020.csv is needed: give its path with --data-entry, or install a package that "
            "contains it, `pip install torchxrayvision` (an extra: `pip install '.[test]'`)"
        )
    path = Path(spec.submodule_search_locations[0]) / "data" / "Data_Entry_2017_v2020.csv.gz"
    if not path.is_file():
        raise AWBError(f"this release of torchxrayvision has no {path.name}; 1.5.7 has")
    return path


def read_list(path: str | Path) -> list[str]:
    """Read image names, one per line, from one of NIH's lists or any other file; plain or gzipped.

    Raises:
        AWBError: No such file, no name in it, or a line that cannot be a file name.
    """
    with open_text(path) as file:
        names = [line.strip() for line in file]
    if not any(names):
        raise AWBError(f"{path} names no image; expected one per line")
    for line, name in enumerate(names, 1):
        if name:
            _require_file_name(f"{path}, line {line}", name)
    return [name for name in names if name]


def _require_file_name(where: str, image: str) -> None:
    if not image or not image.isprintable():
        raise AWBError(f"{where}: {image!r} for an image; expected the name of a file")


def _findings(image: str, text: str) -> list[bool]:
    names = text.split("|")
    if names == [NO_FINDING]:
        return [False] * len(FINDINGS)
    for name in names:
        if name not in FINDINGS:
            why = f"{NO_FINDING!r} beside findings" if name == NO_FINDING else f"unknown finding {name!r}"
            raise AWBError(f"image {image}: {why} in {text!r}{did_you_mean(name, FINDINGS)}")
    return [finding in names for finding in FINDINGS]


def _age(text: str) -> str:
    """Age in whole years from `58`, or from the first release's `058Y`, `013M` and `001D`; empty if impossibly high.

    Raises:
        AWBError: Not an age.
    """
    try:
        return str(int(age_in_years(text)))
    except AWBError:
        if text.upper().removesuffix("Y").isdecimal():
            return ""
        raise
