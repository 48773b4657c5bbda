"""A column of labels is a class in any spelling, or is named and refused; it never disappears."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from awb import AWBError
from awb.cli import main
from awb.study import audit_leakage, read_labels
from tests.test_cli import refusal, rows


def write(path: Path, cell: Callable[[int], str], n: int = 60) -> Path:
    """Image i of patient i // 2, class A, and a column B that is to hold i % 3 == 0 in some spelling."""
    path.write_text("image,patient,A,B\n" + "".join(f"{i},{i // 2},{i % 2},{cell(i)}\n" for i in range(n)))
    return path


SPELLINGS: dict[str, tuple[str, str]] = {
    "Python's": ("True", "False"), "R's": ("TRUE", "FALSE"), "capitals": ("YES", "NO"), "letters": ("Y", "n"),
    "one decimal": ("1.0", "0.0"), "two decimals": ("1.00", "0.00"), "bare point": ("1.", "0."),
    "numpy's": ("1.000000e+00", "0.000000e+00"), "words": ("Positive", "negative"), "spaces": (" 1 ", " 0"),
}  # fmt: skip


@pytest.mark.parametrize(("one", "zero"), SPELLINGS.values(), ids=SPELLINGS)
def test_a_class_is_one_in_any_spelling(tmp_path: Path, one: str, zero: str) -> None:
    table = read_labels(write(tmp_path / "labels.csv", lambda i: one if i % 3 == 0 else zero))
    assert table.classes[-2:] == ("A", "B")
    np.testing.assert_array_equal(table.labels[:, -1], np.arange(60) % 3 == 0)


@pytest.mark.parametrize("blank", ["", "NA", "N/A", "NaN", "<NA>", "None", "null", "#N/A"])
def test_unknown_labels_are_unknown_in_any_spelling_and_however_many(tmp_path: Path, blank: str) -> None:
    path = write(tmp_path / "labels.csv", lambda i: blank if i % 5 < 3 else str(i % 2))
    table = read_labels(path, group="patient")
    assert table.classes == ("A", "B")
    assert np.isnan(table.labels[:, 1]).sum() == 36


@pytest.mark.parametrize("mark", ["-1", "-1.0", "U", "uncertain", "?"])
def test_uncertain_labels_are_refused_by_name_or_count_as_is_said(tmp_path: Path, mark: str) -> None:
    path = write(tmp_path / "labels.csv", lambda i: mark if i % 5 < 3 else f"{i % 2}.0")
    for classes in (None, ["A", "B"]):
        with pytest.raises(AWBError, match=rf"row 1, column 'B': {mark!r}.*".replace("?", r"\?")) as caught:
            read_labels(path, group="patient", classes=classes)
        assert "uncertain" in str(caught.value)
    for meaning, value in (("unknown", math.nan), ("negative", 0), ("positive", 1)):
        table = read_labels(path, group="patient", uncertain=meaning)  # type: ignore[arg-type]
        np.testing.assert_array_equal(table.labels[:6, 1], [value, value, value, 1, 0, value])
    only = write(tmp_path / "only.csv", lambda i: mark if i % 2 else "")
    with pytest.raises(AWBError, match="column 'B'"):
        read_labels(only, group="patient")


def test_chexperts_blanks_are_negative_if_that_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.csv", lambda i: "1.0" if i % 3 == 0 else "")
    assert np.isnan(read_labels(path, group="patient").labels).sum() == 40
    np.testing.assert_array_equal(
        read_labels(path, group="patient", blank="negative").labels[:, 1], np.arange(60) % 3 == 0
    )
    with pytest.raises(AWBError, match="blank='zero'; expected unknown, negative"):
        read_labels(path, blank="zero")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["sex", "Gender", "PATIENT GENDER", "age", "View Position", "Follow-up #", "fold", "Frontal/Lateral"]
)
def test_what_is_said_of_people_and_exposures_is_no_class_unless_it_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"image,{name},Mass\na,0,1\nb,1,0\nc,1,0\n")
    assert read_labels(path).classes == ("Mass",)
    assert read_labels(path, classes=[name]).classes == (name,)


def test_a_column_that_is_1_throughout_may_be_no_class_and_is_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.csv", lambda i: "1")
    with pytest.raises(AWBError, match="column 'B': every row is '1'"):
        read_labels(path, group="patient")
    assert read_labels(path, group="patient", classes=["A"]).columns["B"].tolist() == ["1"] * 60
    assert read_labels(path, group="patient", classes=["A", "B"]).labels[:, 1].all()
    # 0 throughout is a rare finding that these images lack
    assert read_labels(write(path, lambda i: "0"), group="patient").classes == ("A", "B")


def test_numbers_and_words_are_no_classes(tmp_path: Path) -> None:
    for cell in (str, lambda i: "LR"[i % 2], lambda i: "FM"[i % 2], lambda i: f"{i / 7:.2f}", lambda i: "F"):
        assert read_labels(write(tmp_path / "labels.csv", cell), group="patient").classes == ("A",)


def test_evaluate_audit_and_the_library_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = tmp_path / "predictions.csv"
    predictions.write_text("image,A,B\n" + "".join(f"{i},{(i * 7) % 10},{(i * 3) % 10}\n" for i in range(60)))
    command = ["study", "evaluate", str(predictions), str(tmp_path / "labels.csv"), "--group", "patient"]
    for one, zero in SPELLINGS.values():
        write(tmp_path / "labels.csv", lambda i, one=one, zero=zero: one if i % 3 == 0 else zero)  # type: ignore[misc]
        assert [row["class"] for row in rows(capsys, *command, "--replicates", "20")] == ["A", "B", "macro (2)"]
    chexpert = write(tmp_path / "labels.csv", lambda i: "-1.0" if i % 5 < 3 else f"{i % 2}.0")
    assert "column 'B': '-1.0'" in refusal(capsys, *command)
    assert rows(capsys, *command, "--replicates", "20", "--uncertain", "unknown")[1]["n"] == 24
    other = tmp_path / "other.csv"
    other.write_text(chexpert.read_text())
    assert "column 'B': '-1.0'" in refusal(capsys, "study", "audit", str(chexpert), str(other), "--group", "patient")
    audit = rows(capsys, "study", "audit", str(chexpert), str(other), "--uncertain", "positive", "--blank", "negative")
    assert [row["images"] for row in audit if row["images of"] == "B"] == [36 + 12]


def test_a_predicted_column_that_is_no_class_of_the_labels_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write(tmp_path / "labels.csv", lambda i: ("severe", "mild", "0")[i % 3])
    predictions = tmp_path / "predictions.csv"
    predictions.write_text("image,A,B\n" + "".join(f"{i},{(i * 7) % 10},.5\n" for i in range(60)))
    command = ("study", "evaluate", str(predictions), str(labels), "--group", "patient")
    assert "predicts 'B', which is not a class" in refusal(capsys, *command)
    assert main([*command, "--classes", "A", "--replicates", "20"]) == 0
    # a column that came along from the labels is no prediction
    predictions.write_text("image,A,B\n" + "".join(f"{i},{(i * 7) % 10},{i % 9}\n" for i in range(60)))
    write(labels, lambda i: str(i % 9))
    assert main([*command, "--replicates", "20"]) == 0


def test_an_audit_needs_patients_and_images_and_no_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, first in (("train", 0), ("test", 8)):
        lines = [f"{i}.png,{i // 3}\n" for i in range(first, first + 10)]
        (tmp_path / f"{name}.csv").write_text("image,patient\n" + "".join(lines))
    files = [str(tmp_path / f"{name}.csv") for name in ("train", "test")]
    (row,) = rows(capsys, "study", "audit", *files, "--group", "patient")
    assert (row["images of"], row["images"], row["seen"], row["of seen patients"]) == ("all images", 10, 2, 4)
    tables = {name: read_labels(name, group="patient", require_classes=False) for name in files}
    assert [row["images of"] for row in audit_leakage(tables)] == ["all images"]
    with pytest.raises(AWBError, match="no column of labels"):
        read_labels(files[0], group="patient")
