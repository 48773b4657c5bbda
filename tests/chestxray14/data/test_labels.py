"""NIH's label file, with its traps, becomes a table; golden numbers are NIH's own (release of 2020)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from awb import AWBError
from awb.study import LabelTable
from examples.chestxray14.data.labels import subgroup_of
from examples.chestxray14.data.nih import FINDINGS, packaged_data_entry, read_data_entry

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


def read(tmp_path: Path, *rows: str, header: str = HEADER) -> LabelTable:
    path = tmp_path / "Data_Entry_2017.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return read_data_entry(path)


def test_the_whole_file_has_nihs_counts(nih: LabelTable) -> None:
    assert len(nih) == 112_120
    assert len(np.unique(nih.groups)) == 30_805  # type: ignore[arg-type]
    assert int((~nih.abnormal).sum()) == 60_361
    positives = dict(zip(nih.classes, nih.labels.sum(0).astype(int).tolist(), strict=True))
    assert positives == {
        "Atelectasis": 11_559, "Cardiomegaly": 2_776, "Effusion": 13_317, "Infiltration": 19_894, "Mass": 5_782,
        "Nodule": 6_331, "Pneumonia": 1_431, "Pneumothorax": 5_302, "Consolidation": 4_667, "Edema": 2_303,
        "Emphysema": 2_516, "Fibrosis": 1_686, "Pleural_Thickening": 3_385, "Hernia": 227,
    }  # fmt: skip
    assert set(nih.columns["view"].tolist()) == {"PA", "AP"}
    assert set(nih.columns["sex"].tolist()) == {"M", "F"}
    ages = nih.columns["age"].astype(int)
    assert (ages.min(), ages.max()) == (0, 95)


def test_rows_stay_in_the_order_of_the_file_which_is_not_sorted(nih: LabelTable) -> None:
    assert nih.images[0] == "00000001_000.png"
    assert nih.images.tolist() != sorted(nih.images.tolist())


def test_columns_are_found_behind_headers_that_a_comma_splits(tmp_path: Path) -> None:
    row = "00000013_000.png,Mass|Nodule,4,13,060Y,M,AP,2682,2749,0.143,0.143"
    for end in ("", ","):  # a later copy ends each line in a comma
        table = read(tmp_path, row + end, header=HEADER + end)
        assert [f for f, label in zip(FINDINGS, table.labels[0], strict=True) if label] == ["Mass", "Nodule"]
        assert table.groups is not None
        assert table.groups.tolist() == ["13"]
        assert {name: values[0] for name, values in table.columns.items()} == {
            "view": "AP", "sex": "M", "age": "60", "follow_up": "4",
        }  # fmt: skip


def test_ages_in_months_and_days_and_patients_with_zeros_are_read(tmp_path: Path) -> None:
    rows = [f"{i}.png,No Finding,0,{i:08},{age},F,PA,1,1,1,1" for i, age in enumerate(("018M", "010D", "58", "005M"))]
    table = read(tmp_path, *rows)
    assert table.columns["age"].tolist() == ["1", "0", "58", "0"]
    assert table.groups is not None
    assert table.groups.tolist() == ["0", "1", "2", "3"]
    assert not table.abnormal.any()


@pytest.mark.parametrize(
    ("findings", "words"),
    [("Efusion", "did you mean 'Effusion'"), ("No Finding|Mass", "'No Finding' beside findings"), ("", "unknown")],
)
def test_findings_that_nih_does_not_have_are_refused(tmp_path: Path, findings: str, words: str) -> None:
    with pytest.raises(AWBError, match=words):
        read(tmp_path, f"a.png,{findings},0,1,58,M,PA,1,1,1,1")


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AWBError, match="no column 'Image Index'"):
        read(tmp_path, "a,1", header="image,label")


@pytest.mark.slow
def test_the_packaged_file_is_found_without_importing_the_package() -> None:
    code = (
        "import sys; from examples.chestxray14.data.nih import packaged_data_entry as find; find(); "
        "print([m for m in ('torchxrayvision', 'pandas') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    assert packaged_data_entry().is_file()


def test_ages_that_no_human_has_are_not_known_and_other_bad_cells_are_named_with_their_line(tmp_path: Path) -> None:
    row = "{}.png,No Finding,0,{},{},F,PA,1,1,1,1"
    table = read(tmp_path, row.format("a", "13.0", "411Y"), row.format("b", "p7", "411"), row.format("c", "00013", "9"))
    assert table.columns["age"].tolist() == ["", "", "9"]
    assert table.groups is not None
    assert table.groups.tolist() == ["13", "7", "13"]
    for bad, words in (
        (row.format("b", "", "58"), "patient ''; expected NIH's number"),
        (row.format("b", "nan", "58"), "patient 'nan'"),
        (row.format("b", "2", "old"), "age 'old'; expected years"),
        ("b.png,No Finding", "2 cells under 11 headers"),
        ("b.png,Mas,0,2,58,F,PA,1,1,1,1", "unknown finding 'Mas'"),
    ):
        with pytest.raises(AWBError, match=rf"Data_Entry_2017\.csv, line 3: .*{words}"):
            read(tmp_path, row.format("a", "1", "58"), bad)
    with pytest.raises(AWBError, match="no rows"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("header", "subgroup"),
    [("Gender", "sex"), ("Patient Sex", "sex"), ("PATIENT_AGE", "age"), ("View Position", "view"), ("Mass", None),
     ("Hernia", None)],
)  # fmt: skip
def test_subgroups_are_known_in_any_table(header: str, subgroup: str | None) -> None:
    assert subgroup_of(header) == subgroup
