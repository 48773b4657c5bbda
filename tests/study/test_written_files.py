"""What is saved is read back unchanged, byte by byte the same each time, and whole or not at all."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awb import AWBError
from awb.study import LabelTable, read_labels, read_predictions, write_predictions

TABLE = LabelTable(
    ["a,1.png", "b.png", "ü.png"],
    ("Mass", "No Finding"),
    [[1, 0], [math.nan, 0], [0, 1]],
    ["p1", "p1", "p2"],
    {"view": ["PA", "", 'l"l'], "age": ["7", "8", "9"]},
)


def test_saved_labels_have_these_bytes(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    TABLE.save(path, group="patient")
    assert path.read_bytes().decode() == (
        'image,patient,view,age,Mass,No Finding\n"a,1.png",p1,PA,7,1,0\nb.png,p1,,8,,0\nü.png,p2,"l""l",9,0,1\n'
    )
    TABLE.save(path, image="file", columns=["age"])
    assert path.read_text(encoding="utf-8").splitlines()[:2] == ["file,group,age,Mass,No Finding", '"a,1.png",p1,7,1,0']
    LabelTable(["a"], ("x",), [[1]]).save(path)
    assert path.read_text() == "image,x\na,1\n"


@pytest.mark.parametrize("name", ["labels.csv", "labels.csv.gz"])
def test_saved_labels_are_read_back(tmp_path: Path, name: str) -> None:
    for path in (tmp_path / name, tmp_path / f"again-{name}"):
        TABLE.save(path)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()
    read = read_labels(tmp_path / name, group="group", classes=TABLE.classes)
    assert read.checksum == TABLE.checksum
    assert {name: values.tolist() for name, values in read.columns.items()} == {
        name: values.tolist() for name, values in TABLE.columns.items()
    }


@given(st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2), min_size=1, max_size=5))
def test_written_predictions_are_read_back_to_the_bit(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    path = tmp_path_factory.mktemp("p") / "predictions.csv"
    images = [f"{i}.png" for i in range(len(rows))]
    labels = LabelTable(images, ("Mass", "Edema"), np.full((len(rows), 2), np.nan))
    write_predictions(path, labels, rows)
    back = read_predictions(path, labels)
    assert back.tobytes() == np.array(rows, dtype=np.float64).tobytes()  # −0.0 too


def test_written_predictions_have_these_bytes(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, TABLE, np.array([[0.1, 1], [1e-9, 0.5], [1 / 3, 0]]), image="file")
    assert path.read_bytes().decode() == (
        'file,Mass,No Finding\n"a,1.png",0.1,1.0\nb.png,1e-09,0.5\nü.png,0.3333333333333333,0.0\n'
    )


def test_what_would_be_read_differently_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("old")
    for table, words in (
        (LabelTable(["a "], ("x",), [[1]]), "row 1: 'a ' would be read differently"),
        (LabelTable(["a"], ("x",), [[1]], columns={"view": ["\nPA"]}), "row 1: '\\\\nPA' would be read differently"),
        (LabelTable(["a"], (" x",), [[1]]), "header: ' x' would be read differently"),
        (LabelTable(["a"], ("image",), [[1]]), "column named more than once: 'image'"),
        (LabelTable([], ("x",), np.zeros((0, 1))), "no rows to write"),
    ):
        with pytest.raises(AWBError, match=words):
            table.save(path)
    with pytest.raises(AWBError, match="no column 'vew'; did you mean 'view'"):
        TABLE.save(path, columns=["vew"])
    with pytest.raises(AWBError, match="row 1, class 'Mass': scores nan; expected a finite number"):
        write_predictions(path, TABLE, [[0, 0], [math.nan, 0], [0, 0]])
    with pytest.raises(AWBError, match="y_true is 3×2 and scores 2×2"):
        write_predictions(path, TABLE, [[0, 0], [0, 0]])
    assert path.read_text() == "old"
    with pytest.raises(AWBError, match="there is no folder"):
        TABLE.save(tmp_path / "nowhere" / "labels.csv")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["labels.csv"]
