"""NIH's boxes are read with their traps, and follow the images to another size."""

from __future__ import annotations

from pathlib import Path

import pytest

from awb import AWBError
from examples.chestxray14.data.boxes import Box, Boxes, read_boxes, write_boxes
from tests.chestxray14.real import NIH, needs_nih

HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"


def read(tmp_path: Path, rows: str, header: str = HEADER) -> Boxes:
    path = tmp_path / "BBox_List_2017.csv"
    path.write_text(header + rows)
    return read_boxes(path)


def test_a_box_is_read_behind_headers_that_a_comma_splits(tmp_path: Path) -> None:
    boxes = read(tmp_path, "a.png,Infiltrate,224,512,64.5,100,,,\nb.png,Mass,0,0,1024,1024\n\n")
    assert tuple(boxes) == (
        Box("a.png", "Infiltration", 224, 512, 64.5, 100),
        Box("b.png", "Mass", 0, 0, 1024, 1024),
    )
    assert boxes.size == 1024


def test_boxes_are_scaled_to_the_stores_pixels(tmp_path: Path) -> None:
    boxes = read(tmp_path, "a.png,Mass,512,256,128,64\n").scaled_to(224)
    assert tuple(boxes) == (Box("a.png", "Mass", 112, 56, 28, 14),)
    assert tuple(boxes.scaled_to(1024)) == (Box("a.png", "Mass", 512, 256, 128, 64),)


def test_boxes_of_some_images_are_chosen(tmp_path: Path) -> None:
    boxes = read(tmp_path, "a.png,Mass,1,1,1,1\nb.png,Mass,2,2,2,2\na.png,Nodule,3,3,3,3\n")
    assert [box.x for box in boxes.of(["a.png", "c.png"])] == [1, 3]


def test_what_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    boxes = Boxes(512, (Box("a.png", "Hernia", 1.25, 2.5, 100, 200.75),))
    write_boxes(tmp_path / "boxes.csv", boxes)
    assert read_boxes(tmp_path / "boxes.csv").scaled_to(512) == boxes


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a.png,Efusion,1,1,1,1\n", "line 2: unknown finding 'Efusion'; did you mean 'Effusion'"),
        ("a.png,Mass,1,1,0,1\n", "width 0"),
        ("a.png,Mass,1000,1,100,1\n", "is not a box in 1024 pixels"),
        ("a.png,Mass,nan,1,1,1\n", "is not a box"),
        ("a.png,Mass,1,1,1\n", "expected four numbers"),
    ],
)
def test_what_is_no_box_is_refused(tmp_path: Path, rows: str, words: str) -> None:
    with pytest.raises(AWBError, match=words):
        read(tmp_path, rows)


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AWBError, match="expected NIH's"):
        read(tmp_path, "", header="image,x,y,w,h\n")


@needs_nih
def test_nihs_list_has_its_counts() -> None:
    boxes = read_boxes(NIH / "BBox_List_2017.csv.gz")
    assert len(boxes) == 984
    assert len({box.image for box in boxes}) == 880
    assert sum(box.finding == "Infiltration" for box in boxes) == 123
