"""From a table of one's own to an evaluation, by the documented commands and without touching the table."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import numpy as np
import pytest

from awb.study import LabelTable, read_labels
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.columns import Columns
from examples.chestxray14.data.labels import read_table
from examples.chestxray14.data.nih import read_data_entry
from examples.chestxray14.recipes.find import find_recipe

COLUMNS = ["--image-column", "filename", "--patient-column", "patient_id", "--label-column", "diagnosis"]
PREFIX = "python -m examples.chestxray14 "
PAGE = Path(__file__).parents[3] / "docs" / "chestxray14" / "data.md"


def write(path: Path, table: LabelTable, labels: list[str]) -> Path:
    assert table.groups is not None
    with path.open("w", newline="") as file:
        rows = zip(table.images.tolist(), table.groups.tolist(), labels, table.columns["sex"].tolist(), strict=True)
        csv.writer(file).writerows([("filename", "patient_id", "diagnosis", "sex"), *rows])
    return path


@pytest.fixture(scope="module")
def labels(phantoms: Path) -> LabelTable:
    return read_data_entry(phantoms / "data" / "Data_Entry_2017_synthetic.csv")


def as_findings(table: LabelTable) -> list[str]:
    names = [[name for name, has in zip(table.classes, row, strict=True) if has == 1] for row in table.labels]
    return ["|".join(some) or "No Finding" for some in names]


def as_classes(table: LabelTable) -> list[str]:
    return ["ill" if ill else ("well", "odd")[i % 2] for i, ill in enumerate(table.abnormal.tolist())]


def next_commands(printed: str, images: Path) -> list[list[str]]:
    """Words of the commands that `init` says come next."""
    lines = [line.removeprefix(PREFIX) for line in printed.splitlines() if line.startswith(PREFIX)]
    return [[str(images) if word == "IMAGES" else word for word in shlex.split(line)] for line in lines]


@pytest.mark.slow
def test_classes_go_from_text_to_an_evaluation_by_the_commands_that_init_prints(
    phantoms: Path,
    labels: LabelTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = as_classes(labels)
    write(tmp_path / "t.csv", labels, text)
    assert main(["init", "t.csv", "mine.yaml", *COLUMNS]) == 0
    prepare, train, evaluate, predict, recipes, _ = next_commands(capsys.readouterr().out, phantoms / "data" / "images")
    assert find_recipe("mine.yaml:tiny").task == "classes"
    assert main([*prepare, "--size", "32", "--workers", "1"]) == 0
    assert main(recipes) == 0
    assert main(train) == 2
    assert "takes images of 64 pixels, and those in store have 32" in capsys.readouterr().err
    assert main([*train, "--set", "data.image_size=32", "--set", "stages.*.epochs=1"]) == 0
    assert main([*evaluate, "--replicates", "40"]) == 0
    assert main(predict) == 0
    assert (tmp_path / "predictions.csv").read_text().splitlines()[0].startswith("image,ill,odd,well")
    require_same_labels(labels, text, ["ill", "odd", "well"])


@pytest.mark.slow
def test_findings_go_from_text_to_an_evaluation_by_the_commands_of_the_documentation(
    phantoms: Path,
    labels: LabelTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = as_findings(labels)
    table = write(tmp_path / "xrays.csv", labels, text)
    before = table.read_bytes()
    (tmp_path / "xrays").symlink_to(phantoms / "data")
    section = PAGE.read_text(encoding="utf-8").split("## Your own table\n")[1].split("\n## ")[0]
    lines = section.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line.removeprefix(f"$ {PREFIX}")) for line in lines if line.startswith(f"$ {PREFIX}")]
    assert [command[0] for command in commands] == ["init", "prepare", "train", "evaluate", "audit"]
    for command in commands:
        assert main(command) == 0, capsys.readouterr().err
    assert find_recipe("xrays.yaml:tiny").task == "findings"
    require_same_labels(labels, text, sorted({word for cell in text for word in cell.split("|")} - {"No Finding"}))
    assert table.read_bytes() == before


def require_same_labels(table: LabelTable, text: list[str], names: list[str]) -> None:
    """The labels of the evaluation are the words of the table."""
    evaluated = read_labels("runs/tiny/evaluation/labels-test.csv", group="patient", classes=names)
    words = dict(zip(table.images.tolist(), text, strict=True))
    for image, row in zip(evaluated.images.tolist(), evaluated.labels, strict=True):
        read = {name for name, has in zip(names, row, strict=True) if has}
        assert read == set(words[image].split("|")) - {"No Finding"}


def test_text_and_columns_are_the_same_table(labels: LabelTable, tmp_path: Path) -> None:
    text = read_table(write(tmp_path / "t.csv", labels, as_findings(labels)),
                      Columns("filename", "patient_id", text="diagnosis"))  # fmt: skip
    there = [name for name in labels.classes if name in text.classes]
    assert text.classes == tuple(sorted(there))
    np.testing.assert_array_equal(text.labels, labels.classes_of(text.classes).labels)
    assert text.columns["sex"].tolist() == labels.columns["sex"].tolist()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("\ufefffilename,who,sign\na,1,x\nb,2,y\n", ""),  # a byte-order mark is none of the first header
        ('filename,who,sign\n"a, b",1,"x y"\nc,2,"z"\n', ""),
        ("filename;who;sign\na;1;x\n", "separates its columns by ';'; expected commas"),
        ("filename,who,who,sign\na,1,1,x\n", "column named more than once: 'who'"),
        ('filename,who,sign\na,1,"x\nb,2,y\n', "row 1: 'x\\nb,2,y' for a label; expected printable characters in one"),
        ("filename,who,sign\na,1,x\0\nb,2,y\n", "line 2 holds a NUL character"),
        ("filename,who,sign\na,1," + "x" * 20_000_000 + "\n", "field larger than field limit"),
        ("filename,who,sign\na,1,x|\nb,2,y\n", "row 1: 'x|' has an empty or unknown label"),
        ("filename,who,sign\na,1,x\nb,2,nan\n", "row 2: 'nan'. Nothing can mean that nothing was found"),
        ("filename,who,sign\na,1,3-May\nb,2,y\n", "row 1: '3-May' is a date, not a label"),
        ("filename,who,sign\na,1,x\nb,,y\n", "image 'b' has no group"),
        ("filename,who,sign\na,1,x\na,2,y\n", "image named more than once: 'a'"),
        ("filename,who,sign\na,1,x\nb,2,sex\n", "a label called 'sex', as a column of results is"),
        ("filename,who,Sex,gender,sign\na,1,f,f,x\nb,2,m,m,y\n", "has columns Sex, gender; expected each of"),
        ("file name,person,sign\na,1,x\n", "give --image-column 'file name' and --patient-column NAME"),
        ("filename,who\na,1\n", "no column 'sign'; it has filename, who; --label-column names the column"),
    ],
)  # fmt: skip
def test_a_hostile_table_is_read_or_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, words: str
) -> None:
    (tmp_path / "t.csv").write_text(content, encoding="utf-8", newline="")
    columns = [] if "file name" in content else ["--image-column", "filename", "--patient-column", "who"]
    status = main(["init", str(tmp_path / "t.csv"), str(tmp_path / "o.yaml"), *columns, "--label-column", "sign"])
    error = capsys.readouterr().err
    assert status == (2 if words else 0), error
    assert words in error
    assert error.count("\n") == (1 if words else 0)
    assert len(error) < 500
    assert (tmp_path / "o.yaml").exists() == (not words)


def test_columns_without_a_table_are_refused(phantoms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", str(phantoms / "data"), "nowhere", "--image-column", "filename"]) == 2
    assert "columns are named, but no --table" in capsys.readouterr().err


def test_images_may_stand_for_patients_if_that_is_said(
    phantoms: Path, labels: LabelTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path / "t.csv", labels, as_classes(labels))
    columns = [*COLUMNS[:2], "--patient-column", "filename", *COLUMNS[4:]]
    assert main(["init", str(table), str(tmp_path / "o.yaml"), *columns]) == 0
    assert "each image is taken for a patient of its own" in capsys.readouterr().out
    assert main(["audit", "--table", str(table), *columns]) == 0
    printed = capsys.readouterr().out
    assert "each image is taken for a patient of its own" in printed
    assert "## report" not in printed
    lines = [line.split() for line in printed.split("## labels by set")[1].splitlines()]
    counts = {line[0]: list(map(int, line[1:])) for line in lines if line and line[0] in ("ill", "odd", "well")}
    for name, column in zip(("ill", "odd", "well"), range(3), strict=True):
        total = read_table(table, Columns("filename", "filename", text="diagnosis")).labels[:, column].sum()
        assert sum(counts[name][::2]) == sum(counts[name][1::2]) == total
