"""`init` writes a study file for a table: what it says of the columns, what it refuses, and that the study trains."""

import csv
from pathlib import Path

import pytest

from awb.study import LabelTable
from examples.chestxray14.__main__ import main
from examples.chestxray14.data.nih import packaged_data_entry, read_data_entry
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.recipes.schema import load_recipe
from examples.chestxray14.recipes.study_file import StudyFile

ROWS = [(f"a/{i}.png", str(i // 2), "M", str(50 + i % 9), str(i % 2), str(i % 3 // 2), "seen") for i in range(60)]
HEADER = ("path", "patient", "Gender", "Age", "Mass", "Effusion", "note")


def write_table(path: Path, header: tuple[str, ...] = HEADER, rows: list[tuple[str, ...]] = ROWS) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_phantom_table(path: Path, table: LabelTable) -> Path:
    """The labels of phantoms as a plain table."""
    assert table.groups is not None
    rows = [
        (image, patient, sex, *(str(int(label)) for label in labels))
        for image, patient, sex, labels in zip(
            table.images, table.groups, table.columns["sex"], table.labels, strict=True
        )
    ]
    return write_table(path, ("path", "patient", "sex", *table.classes), rows)


def test_columns_are_recognised_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.yaml"
    assert main(["init", str(write_table(tmp_path / "x rays.csv")), str(out)]) == 0
    said = capsys.readouterr().out
    for line in (
        "x rays.csv: 60 images of 30 patients",
        "image: column path; patient: column patient",
        "findings (images that have them): Mass (30), Effusion (20)",
        "subgroups: sex (column Gender), age (column Age)",
        "not used: note",
    ):
        assert f"{line}\n" in said
        assert f"# {line}\n" in out.read_text()
    cells = StudyFile.load(out).contents
    assert f"wrote {out}: cells {', '.join(cells)}\n" in said
    assert f"train {out}:tiny runs/tiny --data IMAGES --store store --table '{tmp_path / 'x rays.csv'}'\n" in said


def test_nih_s_own_table_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(packaged_data_entry()), str(tmp_path / "nih.yaml")]) == 0
    said = capsys.readouterr().out
    assert "112,120 images of 30,805 patients" in said
    assert "columns: those of NIH's Data_Entry" in said
    assert "--table" not in said


@pytest.mark.parametrize(("n_images", "batch_size"), [(60, 4), (400, 32), (10, 2)])
def test_a_small_table_has_small_batches(tmp_path: Path, n_images: int, batch_size: int) -> None:
    rows = [(f"{i}.png", str(i), "F", "50", str(i % 2), str(i % 3 // 2), "") for i in range(n_images)]
    out = tmp_path / "mine.yaml"
    assert main(["init", str(write_table(tmp_path / "t.csv", rows=rows)), str(out)]) == 0
    assert {recipe.data.batch_size for recipe in StudyFile.load(out).recipes.values()} == {batch_size}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (("filename", "patient_id", *HEADER[2:]),
         ["no column 'path'", "and 'patient'", "give --image-column filename and --patient-column patient_id, or",
          "--patient-column filename if each image is a patient of its own",
          "The file has filename, patient_id, Gender"]),
        (("path", "who", *HEADER[2:]),
         ["no column 'patient' (splits and intervals are by patient)", "give --patient-column NAME, or "
          "--patient-column path if each image is a patient of its own", "The file has path, who, Gender"]),
        (("img", "image_id", *HEADER[2:]), ["give --image-column one of img, image_id and --patient-column NAME"]),
        (("path", "patient", "Gender", "sex", *HEADER[4:]), ["has columns Gender, sex"]),
        (("path;patient", *HEADER[2:], "x"), ["no column 'path'"]),
    ],
)  # fmt: skip
def test_a_wrong_table_is_told_by_its_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], header: tuple[str, ...], words: list[str]
) -> None:
    out = tmp_path / "mine.yaml"
    assert main(["init", str(write_table(tmp_path / "t.csv", header)), str(out)]) == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error
    assert not out.exists()


def test_an_age_that_training_would_refuse_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("a.png", "1", "58", "1"), ("b.png", "2", "999", "0")]
    table = write_table(tmp_path / "t.csv", ("path", "patient", "age", "Mass"), rows)
    assert main(["init", str(table), str(tmp_path / "mine.yaml")]) == 2
    assert "image b.png: age '999'; expected years from 0 to 120" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "said", "loss"),
    [
        (("well", "ill", "so-so"), "classes, exactly one per image: ill (20), so-so (20), well (20)", "cross_entropy"),
        (("Mass|Scar", "Scar", "No Finding"), "findings (images that have them): Mass (20), Scar (40)", "bce"),
    ],
)
def test_labels_as_text_are_classes_or_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: tuple[str, ...], said: str, loss: str
) -> None:
    rows = [(f"{i}.png", str(i // 2), labels[i % 3]) for i in range(60)]
    table, out = write_table(tmp_path / "t.csv", ("filename", "patient_id", "diagnosis"), rows), tmp_path / "mine.yaml"
    columns = ["--image-column", "filename", "--patient-column", "patient_id"]
    assert main(["init", str(table), str(out), *columns]) == 2
    assert "a column of labels as text is named by --label-column" in capsys.readouterr().err
    columns += ["--label-column", "diagnosis"]
    assert main(["init", str(table), str(out), *columns]) == 0
    printed = capsys.readouterr().out
    assert f"{said}\n" in printed
    assert "labels: text in column diagnosis\n" in printed
    assert f"prepare IMAGES store --table {table} {' '.join(columns)}\n" in printed
    for recipe in StudyFile.load(out).recipes.values():
        assert [stage.loss.kind for stage in recipe.stages] == [loss]


def test_findings_that_are_partly_unknown_are_no_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"{i}.png", str(i), *(("1", "") if i % 2 else ("", "1"))) for i in range(60)]
    table = write_table(tmp_path / "t.csv", ("path", "patient", "Mass", "Scar"), rows)
    words = ["--labels", "Mass", "Scar"]
    assert main(["init", str(table), str(tmp_path / "mine.yaml"), *words]) == 0
    printed = capsys.readouterr().out
    assert "findings (images that have them): Mass (30), Scar (30)\n" in printed
    assert "images with unknown labels: 60\n" in printed


def test_columns_of_one_1_per_image_are_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"{i}.png", *(str(int(i % 3 == c)) for c in range(3)), "0") for i in range(60)]
    table = write_table(tmp_path / "t.csv", ("path", "healthy", "rust", "scab", "other"), rows)
    words = ["--patient-column", "path", "--labels", "scab", "rust", "healthy"]
    assert main(["init", str(table), str(tmp_path / "mine.yaml"), *words]) == 0
    printed = capsys.readouterr().out
    assert "classes, exactly one per image: scab (20), rust (20), healthy (20)\n" in printed
    assert "each image is taken for a patient of its own" in printed
    assert "not used: other\n" in printed
    assert "--patient-column path --labels scab rust healthy\n" in printed


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = write_table(tmp_path / "t.csv"), tmp_path / "mine.yaml"
    out.write_text("mine")
    assert main(["init", str(table), str(out)]) == 2
    assert "already exists and is not overwritten" in capsys.readouterr().err
    assert out.read_text() == "mine"
    for wrong, words in ((tmp_path / "mine", "is called something.yaml"), (tmp_path / "no" / "m.yaml", "no folder")):
        assert main(["init", str(table), str(wrong)]) == 2
        assert words in capsys.readouterr().err


def test_a_column_s_name_stays_in_its_comment(tmp_path: Path) -> None:
    out = tmp_path / "mine.yaml"
    table = write_table(tmp_path / "t.csv", (*HEADER[:4], "Mass\nbase: 1", *HEADER[5:]))
    assert main(["init", str(table), str(out)]) == 0
    assert "tiny" in StudyFile.load(out).contents
    assert "# findings (images that have them): 'Mass\\nbase: 1' (30), Effusion (20)\n" in out.read_text()


def test_the_study_trains_on_phantoms_in_a_plain_table(phantoms: Path, tmp_path: Path) -> None:
    labels = read_data_entry(phantoms / "data" / "Data_Entry_2017_synthetic.csv")
    table, out, run = write_phantom_table(tmp_path / "t.csv", labels), tmp_path / "mine.yaml", tmp_path / "run"
    assert main(["init", str(table), str(out)]) == 0
    settings = {"data.image_size": 32, "data.batch_size": 24}
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    source = ["--data", str(phantoms / "data"), "--store", str(phantoms / "store"), "--table", str(table)]
    assert main(["train", f"{out}:tiny", str(run), *source, *words]) == 0
    assert load_recipe(run / "recipe.yaml") == find_recipe(f"{out}:tiny", settings)
    assert len((run / "steps.csv").read_text().splitlines()) == 1 + 2  # one epoch of two steps
    assert (run / "weights.safetensors").is_file()
