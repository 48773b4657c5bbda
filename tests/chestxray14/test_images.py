"""Images are found wherever they lie, and all that are missing are named at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from awb import AWBError
from examples.chestxray14.images import find_images, find_nih_file, read_table


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_nihs_folders_and_one_folder_are_searched(tmp_path: Path) -> None:
    touch(tmp_path / "images_001" / "images" / "1_000.png", tmp_path / "images" / "2_000.png", tmp_path / "3_000.png")
    names = ["3_000.png", "1_000.png", "2_000.png"]
    found = find_images(tmp_path, names)
    assert list(found) == names
    assert found["1_000.png"] == tmp_path / "images_001" / "images" / "1_000.png"


def test_a_path_in_a_table_is_taken_as_it_is(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "b" / "1.png")
    assert find_images(tmp_path, ["b/1.png"]) == {"b/1.png": tmp_path / "b" / "1.png"}


def test_an_image_is_found_in_another_format(tmp_path: Path) -> None:
    touch(tmp_path / "1_000.png.jpg", tmp_path / "2_000.JPG")
    found = find_images(tmp_path, ["1_000.png", "2_000.png"])
    assert [path.name for path in found.values()] == ["1_000.png.jpg", "2_000.JPG"]


def test_missing_images_are_counted_and_nihs_address_is_given(tmp_path: Path) -> None:
    touch(tmp_path / "0.png")
    with pytest.raises(AWBError, match=r"9 of 10 images are not below .*: 1.png, 2.png.*nihcc"):
        find_images(tmp_path, [f"{i}.png" for i in range(10)])
    with pytest.raises(AWBError, match="no folder"):
        find_images(tmp_path / "nowhere", ["0.png"])


def test_an_image_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "b" / "1.png")
    with pytest.raises(AWBError, match="more than once"):
        find_images(tmp_path, ["1.png"])


def test_the_same_image_in_two_formats_is_found_in_its_own(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "b" / "1.jpg")
    assert find_images(tmp_path, ["1.png"])["1.png"] == tmp_path / "a" / "1.png"


def test_nihs_label_file_is_found_in_any_release(tmp_path: Path) -> None:
    with pytest.raises(AWBError, match=r"no Data_Entry_2017\*\.csv in .*NIH offers it at"):
        find_nih_file(tmp_path, "Data_Entry_2017*.csv")
    touch(tmp_path / "Data_Entry_2017_v2020.csv.gz")
    assert find_nih_file(tmp_path, "Data_Entry_2017*.csv").name == "Data_Entry_2017_v2020.csv.gz"
    touch(tmp_path / "Data_Entry_2017.csv")
    with pytest.raises(AWBError, match="say which"):
        find_nih_file(tmp_path, "Data_Entry_2017*.csv")


def test_a_plain_table_names_paths_patients_and_labels(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("path,patient,Mass,Nodule\na/1.png,p1,1,0\na/2.png,p1,0,\n")
    table = read_table(tmp_path / "mine.csv")
    assert table.images.tolist() == ["a/1.png", "a/2.png"]
    assert table.classes == ("Mass", "Nodule")
    assert table.groups is not None
    assert table.groups.tolist() == ["p1", "p1"]


@pytest.mark.parametrize("capitalised", [False, True])
def test_a_sex_of_0_and_1_is_no_finding(tmp_path: Path, capitalised: bool) -> None:
    names = [name.title() if capitalised else name for name in ("sex", "age", "view")]
    table = tmp_path / "mine.csv"
    table.write_text(f"path,patient,{','.join(names)},Mass\na.png,1,0,0,PA,1\nb.png,2,1,1,AP,0\nc.png,3,1,2,,\n")
    read = read_table(table)
    assert read.classes == ("Mass",)
    columns = {name: values.tolist() for name, values in read.columns.items()}
    assert columns == {"sex": ["0", "1", "1"], "age": ["0", "1", "2"], "view": ["PA", "AP", ""]}
    table.write_text("path,patient,sex,Sex,Mass\na.png,1,0,0,1\n")
    with pytest.raises(AWBError, match="has columns sex, Sex; expected each of view, sex, age once"):
        read_table(table)
