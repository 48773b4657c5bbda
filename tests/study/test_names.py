"""One patient is one patient however a table program wrote it: leaks do not pass by spelling."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from awb import AWBError
from awb.study import LabelTable, audit_leakage, draw_replicates, evaluate, read_labels, require_disjoint
from awb.study.names import image_key, patient_key
from tests.test_cli import refusal, rows

SAME = ["13", "13.0", "13.00", "00013", " 13 ", "p13", "P13", "p-013", "Patient 13", "patient_00013", "PATIENT#13",
        "subject-13", "sub-13", "id 13", "Patient ID: 13", "\uff11\uff13"]  # fmt: skip
DIFFERENT = ["14", "131", "1.3", "13.5", "-13", "13a", "a13", "13-1", "1 3", "site1_13", ""]


def table(patients: list[str], first: int = 0) -> LabelTable:
    images = [f"{first + i}.png" for i in range(len(patients))]
    return LabelTable(images, ("x",), np.zeros((len(patients), 1)), patients)


@pytest.mark.parametrize("spelling", SAME[1:])
def test_spellings_of_one_patient_are_one_in_audit_refusal_and_table(spelling: str) -> None:
    train, test = table(["13", "7"]), table([spelling, "8"], first=2)
    (row,) = [row for row in audit_leakage({"train": train, "test": test}) if row["images of"] == "all images"]
    assert (row["seen"], row["of seen patients"], row["seen patients"]) == (0, 1, 1)
    assert "1 patients of test and train are the same, written differently" in "".join(
        audit_leakage({"train": train, "test": test}).notes
    )
    with pytest.raises(AWBError, match="shares 0 of its 2 images and 1 of its 2 patients"):
        require_disjoint(train, test)
    for call in (lambda: table(["13", spelling]), lambda: draw_replicates(["13", spelling, "9"])):
        with pytest.raises(AWBError, match="written in more than one way"):
            call()


@pytest.mark.parametrize("other", DIFFERENT[:-1])
def test_other_patients_are_others(other: str) -> None:
    assert patient_key(other) != patient_key("13")
    require_disjoint(table(["13"]), table([other], first=2))
    assert table(["13", other]).groups is not None


def test_names_differ_by_letters_and_not_by_case() -> None:
    assert patient_key("Anne") == patient_key(" ANNE ") != patient_key("Anna")
    assert patient_key("0") == patient_key("000") == "0"


def test_a_files_own_spelling_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image,patient,x\na,00013,1\nb,00014,0\n")
    assert read_labels(path, group="patient").groups.tolist() == ["00013", "00014"]  # type: ignore[union-attr]


@pytest.mark.parametrize("nobody", ["", "nan", "NaN", "<NA>", "NA", "n/a", "None", "NULL", "NaT", "unknown"])
def test_images_of_nobody_are_not_one_patient(tmp_path: Path, nobody: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"image,patient,x\na,1,1\nb,{nobody},0\nc,{nobody},0\n")
    with pytest.raises(AWBError, match="image 'b' has no group"):
        read_labels(path, group="patient")
    with pytest.raises(AWBError, match="2 images have no group, the first in row 1"):
        evaluate([1, 0, 0], [0.3, 0.2, 0.1], ["1", nobody, nobody])


def test_what_stands_for_nobody_in_an_array_is_refused() -> None:
    pandas = pytest.importorskip("pandas")
    for nobody in (None, math.nan, np.nan, pandas.NA, pandas.NaT, np.datetime64("NaT")):
        with pytest.raises(AWBError, match="no group"):
            draw_replicates(np.array([1, nobody, 2], dtype=object))
        with pytest.raises(AWBError, match="no group"):
            LabelTable(["a", "b"], ("x",), [[0], [1]], np.array(["p", nobody], dtype=object))


@pytest.mark.parametrize(("one", "other"), [("a.png", "./a.png"), ("a.png", "A.PNG"), ("b/a.png", "b\\a.png")])
def test_spellings_of_one_image_are_one(one: str, other: str) -> None:
    a, b = (LabelTable([name], ("x",), [[0]], [patient]) for name, patient in ((one, "1"), (other, "2")))
    assert image_key(one) == image_key(other)
    (row, *_) = audit_leakage({"a": a, "b": b})
    assert row["seen"] == 1
    with pytest.raises(AWBError, match="shares 1 of its 1 images"):
        require_disjoint(a, b)


def test_a_table_names_an_image_once_however_it_is_written() -> None:
    with pytest.raises(AWBError, match="images are written in more than one way"):
        LabelTable(["b/a.png", "./b/a.png"], ("x",), [[0], [0]])
    with pytest.raises(AWBError, match="row 2: no image"):
        LabelTable(["a", ""], ("x",), [[0], [0]])
    # view 1 of two patients
    LabelTable(["patient1/view1.png", "patient2/view1.png"], ("x",), [[0], [0]])


def test_patients_13_and_13_0_in_two_files_are_a_leak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, spell in (("train", "{}"), ("test", "{}.0")):
        lines = "".join(f"{name}{i},{spell.format(i)},{i % 2}\n" for i in range(1, 7))
        (tmp_path / f"{name}.csv").write_text(f"image,patient,Mass\n{lines}")
    files = [str(tmp_path / f"{name}.csv") for name in ("train", "test")]
    train, test = (read_labels(file, group="patient") for file in files)
    with pytest.raises(AWBError, match=r"6 of its 6 patients .*1\.0 = 1, 2\.0 = 2"):
        require_disjoint(train, test)
    assert [row["seen patients"] for row in rows(capsys, "study", "audit", *files, "--group", "patient")] == [6, 3, 3]


def test_patients_13_and_13_0_in_one_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    lines = "".join(f"{i},{i // 2}{'.0' * (i % 2)},{i % 2}\n" for i in range(120))
    path.write_text(f"image,patient,Mass\n{lines}")
    with pytest.raises(AWBError, match=r"60 groups \(patients\) are written in more than one way: '0' and '0.0'"):
        read_labels(path, group="patient")


def test_thresholds_are_checked_as_the_audit_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def files(name: str, images: str, patients: str) -> list[str]:
        labels, predictions = tmp_path / f"{name}.csv", tmp_path / f"{name}_predictions.csv"
        lines = [(images.format(i), patients.format(i), i % 2, i % 3) for i in range(8)]
        labels.write_text("image,patient,Mass\n" + "".join(f"{i},{p},{y}\n" for i, p, y, _ in lines))
        predictions.write_text("image,Mass\n" + "".join(f"{i},{score}\n" for i, _, _, score in lines))
        return [str(predictions), str(labels)]

    command = ["study", "evaluate", *files("test", "{}.png", "{}"), "--group", "patient", "--replicates", "20"]
    for images, patients, words in (
        ("v{}.png", "{:05}", "shares 0 of its 8 images and 8 of its 8 patients"),
        ("v{}.png", "p{}", "8 of its 8 patients"),
        ("./{}.png", "v{}", "shares 8 of its 8 images and 0 of its 8 patients"),
        ("{}.PNG", "v{}", "shares 8 of its 8 images"),
    ):
        line = refusal(capsys, *command, "--thresholds-from", *files("val", images, patients))
        assert words in line
        assert "thresholds must be chosen on other patients" in line
    from awb.cli import main

    assert main([*command, "--thresholds-from", *files("val", "other/{}.jpg", "v{}")]) == 0
    assert "8 more images" in capsys.readouterr().out
