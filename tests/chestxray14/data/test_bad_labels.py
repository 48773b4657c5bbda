"""A bad cell in any file of labels, boxes or names is one sentence that says where it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from awb import AWBError
from awb.study import LabelTable, read_labels, read_predictions
from examples.chestxray14.data.boxes import read_boxes
from examples.chestxray14.data.labels import read_table
from examples.chestxray14.data.nih import read_data_entry, read_list
from examples.chestxray14.data.study import load_study
from examples.chestxray14.recipes.data_settings import SplitSettings

HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"
BOXES = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"


def refused(read: Callable[[Path], object], path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(AWBError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.png,Mass", "line 3: 2 cells under 7 headers"),
        ("a.png,Mass,0,1,58,M,PA,more", "line 3: 8 cells under 7 headers"),
        ("a.png,Mass,0,x,58,M,PA", "line 3: patient 'x'; expected NIH's number"),
        ("a.png,Mass,0,,58,M,PA", "line 3: patient ''"),
        ("a.png,Mass,0,1_3,58,M,PA", "line 3: patient '1_3'"),
        ("a.png,Mass,0,1,,M,PA", "line 3: age ''; expected years"),
        ("a.png,Mass,0,1,nan,M,PA", "line 3: age 'nan'"),
        ("a.png,Mass,0,1,Y,M,PA", "line 3: age 'Y'"),
        ("a.png,Mas,0,1,58,M,PA", "line 3: image a.png: unknown finding 'Mas' in 'Mas'; did you mean 'Mass'?"),
        (",Mass,0,1,58,M,PA", "line 3: '' for an image"),
        ("a.png\0,Mass,0,1,58,M,PA", "line 3: 'a.png\\x00' for an image"),
        ("b.png,Mass,0,1,58,M,PA", "image named more than once: 'b.png'"),
    ],
)
def test_a_bad_row_of_nih_s_label_file(tmp_path: Path, row: str, words: str) -> None:
    content = f"{HEADER}b.png,Mass,0,1,58,M,PA\n{row}\n"
    assert words in refused(read_data_entry, tmp_path / "d.csv", content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEADER, "has no rows"),
        ("", "has no column 'Image Index'"),
        ((HEADER + "a.png,Mass,0,1,58,M,PA\n").replace(",", ";"), "separates its columns by ';'; expected commas"),
        ((HEADER + "a.png,Mass,0,1,58,M,PA\n").encode("utf-16"), "not text in UTF-8"),
        ((HEADER + "ä.png,Mass,0,1,58,M,PA\n").encode("latin-1"), "not text in UTF-8"),
    ],
)
def test_a_file_that_is_no_label_file(tmp_path: Path, content: str | bytes, words: str) -> None:
    assert words in refused(read_data_entry, tmp_path / "d.csv", content)


def test_a_mark_before_the_first_header_is_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes((HEADER + "a.png,Mass,0,1,58,M,PA\n").encode("utf-8-sig"))
    assert read_data_entry(tmp_path / "d.csv").images.tolist() == ["a.png"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOXES + "a.png\n", "line 2: 1 cells; beside image and finding, expected four numbers"),
        (BOXES + ",Mass,1,1,1,1\n", "line 2: '' for an image"),
        (BOXES + "a.png,Mass,1,x,1,1\n", "line 2: ['1', 'x', '1', '1'] for a box"),
        ((BOXES + "a.png,Mass,1,1,1,1\n").encode("utf-16"), "not text in UTF-8"),
        ((BOXES + "a.png,Mass,1,1,1,1\n").replace(",", ";"), "expected NIH's"),
    ],
)
def test_a_bad_list_of_boxes(tmp_path: Path, content: str | bytes, words: str) -> None:
    assert words in refused(read_boxes, tmp_path / "boxes.csv", content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "names no image"), ("\n \n", "names no image"), ("a.png\nb\0.png\n", "line 2: 'b\\x00.png' for an image"),
        ("ä".encode("latin-1"), "not text in UTF-8"),
    ],
)  # fmt: skip
def test_a_bad_list_of_names(tmp_path: Path, content: str | bytes, words: str) -> None:
    assert words in refused(read_list, tmp_path / "train", content)


def test_a_list_that_names_what_the_labels_do_not_have_is_named(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "good").write_text("".join(f"{path.name}\n" for path in (phantoms / "data" / "images").iterdir()))
    lists = [tmp_path / "good", tmp_path / "bad", tmp_path / "good"]
    settings = SplitSettings(name="lists", seed=0, allow_overlap=())

    def read(path: Path) -> object:
        return load_study(phantoms / "data", phantoms / "store", settings, lists=lists)

    assert "1 images are not in the table: nobody.png" in refused(read, tmp_path / "bad", "nobody.png\n")


TABLE = "path,patient,Mass\n"


def own(path: Path) -> object:
    return read_table(path)


def labels(path: Path) -> LabelTable:
    return read_labels(path, image="path", group="patient")


def predictions(path: Path) -> object:
    table = path.with_name("labels.csv")
    table.write_text(f"{TABLE}a,1,0\nb,2,1\n")
    return read_predictions(path, labels(table), image="path")


@pytest.mark.parametrize("read", [own, labels, predictions])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (TABLE + "a,1\nb,2,1\n", "line 2: 2 cells under 3 headers"),
        (TABLE + "a,1,0,0\nb,2,1\n", "line 2: 4 cells under 3 headers"),
        (TABLE + "a,1,0\nb\0,2,1\n", "line 3 holds a NUL character"),
        (TABLE, "has no rows"),
        ((TABLE + "a,1,0\nb,2,1\n").replace(",", ";"), "separates its columns by ';'"),
        ((TABLE + "a,1,0\nb,2,1\n").replace(",", "\t"), "separates its columns by '\\t'"),
        ((TABLE + "a,1,0\nb,2,1\n").encode("utf-16"), "not text in UTF-8"),
        ((TABLE + "ä,1,0\nb,2,1\n").encode("latin-1"), "not text in UTF-8"),
        ("where,patient,Mass\na,1,0\n", "no column 'path'"),
    ],
)
def test_a_bad_table_of_one_s_own(
    tmp_path: Path, read: Callable[[Path], object], content: str | bytes, words: str
) -> None:
    assert words in refused(read, tmp_path / "own.csv", content)
