"""Labels: what a file says is what the table holds, and what it cannot mean is refused by name."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from awb import AWBError
from awb.study import LabelTable, read_labels

TEXT = """image,patient,view,Effusion,Mass,empty
a.png,1,PA,0,1,
b.png,1,AP,,1.0,
c.png,2,PA,nan,0.0,
"""


def write(tmp_path: Path, text: str = TEXT) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return path


def test_a_file_becomes_names_labels_groups_and_columns(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path), group="patient")
    assert table.images.tolist() == ["a.png", "b.png", "c.png"]
    assert table.classes == ("Effusion", "Mass")
    np.testing.assert_array_equal(table.labels, [[0, 1], [math.nan, 1], [math.nan, 0]])
    assert table.groups is not None
    assert table.groups.tolist() == ["1", "1", "2"]
    assert {name: values.tolist() for name, values in table.columns.items()} == {
        "view": ["PA", "AP", "PA"],
        "empty": ["", "", ""],
    }
    assert table.abnormal.tolist() == [True, True, False]


def test_gzip_byte_order_mark_windows_line_ends_and_blank_lines_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv.gz"
    path.write_bytes(gzip.compress(("\ufeff" + TEXT.replace("\n", "\r\n") + "\r\n").encode()))
    a, b = read_labels(write(tmp_path), group="patient"), read_labels(path, group="patient")
    assert a.images.tolist() == b.images.tolist()
    assert a.classes == b.classes
    np.testing.assert_array_equal(a.labels, b.labels)


def test_classes_may_be_named_in_any_order(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path), classes=["Mass", "Effusion"])
    np.testing.assert_array_equal(table.labels[:, 0], [1, 1, 0])
    assert set(table.columns) == {"patient", "view", "empty"}


def test_take_keeps_rows_together() -> None:
    table = LabelTable(["a", "b", "c"], ("x",), [[0], [1], [math.nan]], ["p", "q", "r"], {"view": ["1", "2", "3"]})
    for taken in (table.take([2, 0]), table.take(table.find(["c", "a"]))):
        assert taken.images.tolist() == ["c", "a"]
        np.testing.assert_array_equal(taken.labels, [[math.nan], [0]])
        assert taken.groups is not None
        assert taken.groups.tolist() == ["r", "p"]
        assert taken.columns["view"].tolist() == ["3", "1"]
    assert table.take(table.abnormal).images.tolist() == ["b"]
    assert len(table.take([])) == 0


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (TEXT.replace("c.png", "a.png"), {}, ["image named more than once", "'a.png'"]),
        (TEXT, {"group": "patients"}, ["no column 'patients'", "did you mean 'patient'"]),
        (TEXT, {"image": "file"}, ["no column 'file'"]),
        (TEXT, {"classes": ["view"]}, ["row 1", "'view'", "'PA'"]),
        (TEXT, {"classes": ["Mas"]}, ["'Mas'", "did you mean 'Mass'"]),
        (TEXT, {"classes": ["Mass", "Mass"]}, ["class named more than once"]),
        (TEXT.replace("1.0", "-1"), {}, ["row 2", "'Mass'", "'-1'"]),
        (TEXT.replace("AP,", "AP,0,"), {}, ["line 3", "7 cells under 6 headers"]),
        (TEXT.replace("c.png,2", "c.png,"), {"group": "patient"}, ["'c.png' has no group"]),
        (TEXT.replace("view", "Mass"), {}, ["column named more than once", "'Mass'"]),
        ("image,x\n", {}, ["no rows"]),
        ("", {}, ["no rows"]),
        ("image,x\na,\n", {}, ["no column of labels"]),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_by_name(
    tmp_path: Path, text: str, options: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(AWBError) as caught:
        read_labels(write(tmp_path, text), **{"group": "patient" if "patient" in text else None, **options})  # type: ignore[arg-type]
    for word in (str(tmp_path), *words):
        assert word in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AWBError, match=r"no file .*nothing\.csv"):
        read_labels(tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["a", "b"], ("x",), [[0]]), "shape"),
        ((["a"], ("x",), [[0.5]]), "0.5"),
        ((["a"], ("x",), [[0]], ["p", "q"]), "groups"),
        ((["a"], ("x",), [[0]], None, {"view": []}), "view"),
        ((["a"], ("x", "x"), [[0, 0]]), "class named more than once"),
    ],
)
def test_a_table_whose_parts_disagree_is_refused(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(AWBError, match=words):
        LabelTable(*arguments)  # type: ignore[arg-type]


def test_images_that_are_not_there_are_named() -> None:
    table = LabelTable(["a"], ("x",), [[0]])
    with pytest.raises(AWBError, match="2 images are not in the table: b, c"):
        table.find(["a", "b", "c"])
    with pytest.raises(AWBError, match="mask"):
        table.take([True, False])


def test_a_checksum_is_of_images_groups_classes_and_labels_in_order() -> None:
    def table(**changed: Any) -> LabelTable:
        labels = [[0, 1], [math.nan, 1], [1, 0]]
        content = {"images": ["a", "b", "c"], "classes": ("X", "Y"), "labels": labels, "groups": ["1", "1", "2"]}
        return LabelTable(**content | changed)

    other = (
        table(images=["a", "b", "d"]), table(classes=("X", "Z")), table(groups=["1", "2", "2"]), table(groups=None),
        table(labels=[[0, 1], [0, 1], [1, 0]]), table(labels=[[0, 1], [1, 1], [1, 0]]), table().take([1, 0, 2]),
    )  # fmt: skip
    assert len({one.checksum for one in (table(), *other)}) == 1 + len(other)
    assert table(columns={"age": ["1", "2", "3"]}).checksum == table().checksum


def test_what_is_no_text_in_utf_8_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(TEXT.replace("a.png", "Müller.png").encode("latin-1"))
    with pytest.raises(AWBError, match="not text in UTF-8"):
        read_labels(path)


def test_a_column_that_is_said_to_be_no_class_is_none_whatever_it_holds(tmp_path: Path) -> None:
    table = read_labels(write(tmp_path), group="patient", columns=["Mass"])
    assert table.classes == ("Effusion",)
    assert table.columns["Mass"].tolist() == ["1", "1.0", "0.0"]


def test_classes_of_takes_names_in_any_order_or_a_mask() -> None:
    table = LabelTable(["a", "b"], ("x", "y", "z"), [[0, 1, 0], [1, math.nan, 0]], ["p", "q"], {"view": ["1", "2"]})
    for chosen in (
        table.classes_of(["y", "x"]),
        table.classes_of(np.array([True, True, False])).classes_of(("y", "x")),
    ):
        assert chosen.classes == ("y", "x")
        np.testing.assert_array_equal(chosen.labels, [[1, 0], [math.nan, 1]])
        assert chosen.images.tolist() == ["a", "b"]
        assert chosen.groups is not None
        assert chosen.groups.tolist() == ["p", "q"]
        assert chosen.columns["view"].tolist() == ["1", "2"]
    assert table.classes_of(table.classes).checksum == table.checksum
    assert table.classes_of([]).classes == ()
    with pytest.raises(AWBError, match=r"no class 'X'; did you mean 'x'.*there are x, y, z"):
        table.classes_of(["X"])
    with pytest.raises(AWBError, match=r"a mask of shape \(2,\) for a table of 3 classes"):
        table.classes_of(np.array([True, False]))
    with pytest.raises(AWBError, match="class named more than once: 'x'"):
        table.classes_of(["x", "x"])
