"""Images are found wherever they lie, and all that are missing are named at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from awb import AWBError
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.images import find_images
from examples.chestxray14.data.labels import find_nih_file, read_table


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


@pytest.mark.parametrize("missing", ["test/3.png", "3.png", "test/sub/3.png", "./train/../test/3.png"])
def test_no_row_is_given_the_file_of_another(tmp_path: Path, missing: str) -> None:
    """A file with the right name in another folder is another row's image, with another row's labels."""
    touch(*(tmp_path / name for name in ("train/1.png", "train/3.png", "test/1.png")))
    with pytest.raises(AWBError, match=r"1 of 4 images are not below .*train/3.png is not taken for"):
        find_images(tmp_path, ["train/1.png", "train/3.png", "test/1.png", missing])


@pytest.mark.parametrize("missing", ["a/1.jpg", "1.jpg", "1.png.jpg", "a/1.PNG", "A/1.png"])
def test_no_row_is_given_the_file_of_another_in_another_format_or_case(tmp_path: Path, missing: str) -> None:
    touch(tmp_path / "a" / "1.png")
    for rows in ([missing, "a/1.png"], ["a/1.png", missing], ["1.png", missing]):
        with pytest.raises(AWBError, match="1 of 2 images are not below"):
            find_images(tmp_path, rows)


def test_two_rows_that_one_file_might_be_are_both_missing(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.bmp")
    with pytest.raises(AWBError, match="2 of 2 images are not below"):
        find_images(tmp_path, ["1.png", "1.jpg"])
    assert find_images(tmp_path, ["1.png"])["1.png"] == tmp_path / "a" / "1.bmp"


def test_a_row_that_names_a_folder_is_no_file_of_another_folder_or_format(tmp_path: Path) -> None:
    touch(tmp_path / "b" / "1.png", tmp_path / "a" / "1.jpg")
    with pytest.raises(AWBError, match=r"1 of 1 images.* the row names another folder"):
        find_images(tmp_path, ["a/1.png"])


def test_two_ways_to_write_one_path_are_two_rows_of_one_file(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png")
    with pytest.raises(AWBError, match=r"'a/1.png' and 'a/./1.png' are one file"):
        find_images(tmp_path, ["a/1.png", "a/./1.png"])


def test_a_disk_that_ignores_case_gives_two_rows_no_one_file(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "1.PNG").hardlink_to(tmp_path / "a" / "1.png")  # what such a disk answers
    with pytest.raises(AWBError, match="are one file"):
        find_images(tmp_path, ["a/1.png", "a/1.PNG"])


def test_links_are_followed_each_once(tmp_path: Path) -> None:
    touch(tmp_path / "nih" / "images_001" / "1.png", tmp_path / "elsewhere" / "2.png")
    (tmp_path / "nih" / "again").symlink_to(tmp_path / "nih" / "images_001")
    (tmp_path / "nih" / "images_001" / "up").symlink_to(tmp_path / "nih")  # for ever
    (tmp_path / "nih" / "images_002").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "nih" / "images_002" / "same").mkdir()
    (tmp_path / "nih" / "images_002" / "same" / "2.png").symlink_to(tmp_path / "elsewhere" / "2.png")
    (tmp_path / "nih" / "3.png").symlink_to(tmp_path / "nowhere")
    found = find_images(tmp_path / "nih", ["1.png", "2.png"])
    assert [path.resolve().name for path in found.values()] == ["1.png", "2.png"]
    # links that rows name are files of their own
    both = find_images(tmp_path, ["elsewhere/2.png", "nih/images_002/same/2.png"])
    assert len(set(both.values())) == 2
    with pytest.raises(AWBError, match="1 of 1 images"):
        find_images(tmp_path / "nih", ["3.png"])


def test_a_store_is_not_built_of_a_borrowed_image(tmp_path: Path) -> None:
    for shade, name in enumerate(("train/1.png", "train/3.png", "test/1.png")):
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), shade).save(tmp_path / "x" / name)
    rows = ["train/1.png", "train/3.png", "test/1.png", "test/3.png"]
    (tmp_path / "mine.csv").write_text("path,patient,Mass\n" + "".join(f"{r},{i},0\n" for i, r in enumerate(rows)))
    words = [str(tmp_path / "x"), str(tmp_path / "store"), "--table", str(tmp_path / "mine.csv"), "--workers", "1"]
    assert main(["prepare", *words]) == 2
    assert not (tmp_path / "store").exists()


def test_nihs_label_file_is_found_in_any_release(tmp_path: Path) -> None:
    with pytest.raises(AWBError, match=r"no Data_Entry_2017\*\.csv in .*NIH offers it at"):
        find_nih_file(tmp_path, "Data_Entry_2017*.csv")
    touch(tmp_path / "Data_Entry_2017_v2020.csv.gz")
    assert find_nih_file(tmp_path, "Data_Entry_2017*.csv").name == "Data_Entry_2017_v2020.csv.gz"
    touch(tmp_path / "Data_Entry_2017.csv")
    with pytest.raises(AWBError, match="expected one: move the others"):
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


def test_gender_is_sex_and_no_finding_is_no_finding_in_a_plain_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("path,patient,Gender,Patient Age,Normal,Mass\na.png,1,0,058Y,1,0\nb.png,2,1,41,0,True\n")
    table = read_table(path)
    assert table.classes == ("Mass",)
    assert table.abnormal.tolist() == [False, True]
    assert table.columns["sex"].tolist() == ["0", "1"]
    assert table.columns["age"].tolist() == ["058Y", "41"]
    path.write_text("path,patient,Mass\na.png,13,1\nb.png,013,0\n")
    with pytest.raises(AWBError, match="written in more than one way: '13' and '013'"):
        read_table(path)
