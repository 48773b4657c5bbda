"""Labels as text: the columns they become, and what is refused in one sentence."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awb import AWBError
from awb.study import LabelTable, read_labels
from tests.test_cli import refusal

WORDS = ("Atelectasis", "COVID-19", "Edema", "no visible fracture", "Ödem", "Pleural_Thickening", "Zyste, links")


def read(folder: Path, *cells: str, **options: Any) -> LabelTable:
    path = folder / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "text"), *((f"{i}.png", cell) for i, cell in enumerate(cells))])
    return read_labels(path, text="text", **options)


@given(
    rows=st.lists(st.sets(st.sampled_from(WORDS)), min_size=1, max_size=12).filter(lambda rows: any(rows)),
    separator=st.sampled_from(["|", ";", " / "]),
    space=st.sampled_from(["", " ", "\t"]),
    nothing=st.sampled_from(["No Finding", "normal", "none found"]),
    data=st.data(),
)
def test_text_and_columns_say_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[set[str]],
    separator: str,
    space: str,
    nothing: str,
    data: st.DataObject,
) -> None:
    """Cells in any order of labels, with white space about, are what a column of 0 and 1 for each label is."""
    folder = tmp_path_factory.mktemp("text")
    classes = sorted(set().union(*rows), key=str.casefold)
    joined = (separator + space).join
    # two labels in the last row: else every row might have one, and these would be classes
    cells = [joined(data.draw(st.permutations(sorted(row)))) if row else "No Finding" for row in rows]
    if all(len(row) <= 1 for row in rows):
        classes = sorted({*classes, *WORDS[:2]}, key=str.casefold)
        rows, cells = [*rows, set(WORDS[:2])], [*cells, joined(WORDS[:2])]
    table = read(folder, *cells, separator=separator)
    assert table.classes == tuple(classes)
    expected = np.array([[float(name in row) for name in classes] for row in rows])
    np.testing.assert_array_equal(table.labels, expected)
    table.save(folder / "columns.csv")
    again = read_labels(folder / "columns.csv", classes=table.classes)
    assert again.checksum == table.checksum


def test_one_word_each_is_a_class_each_and_normal_is_one(tmp_path: Path) -> None:
    table = read(tmp_path, "virus", "Normal", " bacteria ", "virus")
    assert table.classes == ("bacteria", "Normal", "virus")
    np.testing.assert_array_equal(table.labels, [[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 1]])
    assert table.columns["text"].tolist() == ["virus", "Normal", "bacteria", "virus"]
    assert table.abnormal.tolist() == [True, False, True, True]


def test_with_a_separator_somewhere_no_finding_is_none_of_the_findings(tmp_path: Path) -> None:
    table = read(tmp_path, "Mass|Edema", "No Finding", "Mass")
    assert table.classes == ("Edema", "Mass")
    np.testing.assert_array_equal(table.labels, [[1, 1], [0, 0], [0, 1]])
    with_it = read(tmp_path, "Mass|Edema", "No Finding", "Mass", classes=["No Finding", "Mass", "Edema"])
    np.testing.assert_array_equal(with_it.labels, [[0, 1, 1], [1, 0, 0], [0, 1, 0]])


def test_labels_may_be_named_in_any_order_even_if_none_has_them(tmp_path: Path) -> None:
    table = read(tmp_path, "Mass", "No Finding", "Mass", classes=["Mass", "Hernia"])
    assert table.classes == ("Mass", "Hernia")
    np.testing.assert_array_equal(table.labels, [[1, 0], [0, 0], [1, 0]])


def test_an_empty_cell_means_what_it_is_said_to(tmp_path: Path) -> None:
    unknown = read(tmp_path, "Mass", "", "Edema", blank="unknown")
    np.testing.assert_array_equal(unknown.labels, [[0, 1], [np.nan] * 2, [1, 0]])
    none = read(tmp_path, "Mass", "nan", "Edema", blank="negative")
    np.testing.assert_array_equal(none.labels, [[0, 1], [0, 0], [1, 0]])
    uncertain = read(tmp_path, "Mass", "?", "Edema", uncertain="unknown")
    np.testing.assert_array_equal(uncertain.labels, unknown.labels)


def test_without_a_separator_a_cell_is_one_label(tmp_path: Path) -> None:
    assert read(tmp_path, "a|b", "c", separator=None).classes == ("a|b", "c")


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["Mass", ""], "row 2: ''. Nothing can mean that nothing was found, or that nobody looked"),
        (["Mass", "nan"], "row 2: 'nan'"),
        (["Mass", "unknown"], "if it means uncertain, give uncertain='unknown'"),
        (["Mass|", "Edema"], "row 1: 'Mass|' has an empty or unknown label between '|'"),
        (["|Mass", "Edema"], "has an empty or unknown label"),
        (["Mass||Edema", "Edema"], "has an empty or unknown label"),
        (["Mass|nan", "Edema"], "has an empty or unknown label"),
        (["Mass|Edema|Mass", "Edema"], "names a label twice"),
        (["Mass", "mass"], "1 labels are written in more than one way: 'Mass' and 'mass'"),
        (["Pleural Thickening", "Pleural_Thickening"], "written in more than one way"),
        (["Mass|No Finding", "Mass"], "'No Finding' is 1, and so is 'Mass'"),
        (["5-Mar", "grade 2"], "'5-Mar' is a date, not a label"),
        (["2024-03-05", "grade 2"], "is a date, not a label"),
        (["Mass\nEdema", "Edema"], "expected printable characters in one line"),
        (["x" * 200, "Edema"], "a label of 200 characters"),
        (["1", "0", "1"], "holds 0, 1, which are labels already: name it in classes instead"),
        (["yes", "no"], "which are labels already"),
        (["Mass", "Mass"], "no two different labels; there is Mass"),
        (["Mass", "Edema", "Mass+Edema"], "is made of other labels, 'Mass' and 'Edema'; give separator='+'"),
        ([f"case {i}" for i in range(30)], "30 different labels in 30 rows (case 0, case 1, case 10"),
    ],
)  # fmt: skip
def test_what_is_no_label_is_refused(tmp_path: Path, cells: list[str], words: str) -> None:
    with pytest.raises(AWBError) as caught:
        read(tmp_path, *cells)
    assert words in str(caught.value)
    assert str(tmp_path / "t.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"separator": ""}, "separator is empty"),
        ({"uncertain": "negative"}, "uncertain='negative'; for labels as text, refuse or unknown"),
        ({"blank": "zero"}, "blank='zero'; expected unknown or negative"),
        ({"classes": ["Mas", "Edema"]}, "'Mass' is none of the labels that classes names; did you mean 'Mas'"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(AWBError, match=words):
        read(tmp_path, "Mass", "Edema", **options)


def test_the_command_names_its_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, scores = tmp_path / "labels.csv", tmp_path / "scores.csv"
    labels.write_text("file,who,sign\na,1,x\nb,2,\nc,3,y\n")
    scores.write_text("file,x,y\na,.1,.2\nb,.3,.4\nc,.5,.6\n")
    command = ("study", "evaluate", str(scores), str(labels), "--patient-column", "who")
    assert "no column 'image'; it has file, who, sign; --image-column names the column" in refusal(capsys, *command)
    command += ("--image-column", "file")
    assert "a column of labels as text is named by --label-column" in refusal(capsys, *command)
    command += ("--label-column", "sign")
    assert "say what it means (--blank): unknown or negative" in refusal(capsys, *command)
    renamed = scores.with_name("renamed.csv")
    renamed.write_text(scores.read_text().replace("file", "name"))
    line = refusal(capsys, *command[:2], str(renamed), *command[3:], "--blank", "negative")
    assert "no column 'file'" in line
    assert line.endswith("; --image-column names the column\n")
    assert "is none of the labels that --labels names" in refusal(
        capsys, *command, "--blank", "unknown", "--labels", "x", "z"
    )
    scores.write_text("file,x,y,z\na,.1,.2,0\nb,.3,.4,0\nc,.5,.6,1\n")
    line = refusal(capsys, *command, "--blank", "negative", "--labels", "x", "y", "z")
    assert "z (no positive); --undefined skip leaves such classes out" in line
