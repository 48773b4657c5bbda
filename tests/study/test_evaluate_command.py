"""`awb study evaluate`: files of any model are matched by image name and give the library's numbers."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from awb.cli import main
from awb.study import (
    bands,
    choose_thresholds,
    evaluate,
    evaluate_calibration,
    evaluate_subgroups,
    operating_points,
)
from tests.test_cli import refusal, rows

CLASSES = ["Mass", "Edema"]
PATIENTS = np.array([f"p{i // 3:02}" for i in range(90)])
IMAGES = [f"{i:03}.png" for i in range(90)]
RNG = np.random.default_rng(0)
Y = (RNG.random((90, 2)) < [0.4, 0.3]).astype(float)
PROBS = np.round(1 / (1 + np.exp(-(2 * Y - 1 + RNG.normal(size=Y.shape)))), 6)
Y[5, 1] = np.nan
AGES = RNG.integers(0, 90, 90)


def write(path: Path, header: list[str], lines: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """labels.csv and, in another order of rows and columns and with one more column, predictions.csv."""
    monkeypatch.chdir(tmp_path)
    labels = [["" if np.isnan(v) else int(v) for v in row] for row in Y]
    header = ["image", "patient_id", "age", *CLASSES]
    write(
        tmp_path / "labels.csv",
        header,
        [[i, p, a, *row] for i, p, a, row in zip(IMAGES, PATIENTS, AGES, labels, strict=True)],
    )
    lines = [[i, *row[::-1], "x"] for i, row in zip(IMAGES, PROBS, strict=True)]
    write(tmp_path / "predictions.csv", ["image", *CLASSES[::-1], "model"], lines[::-1])
    return tmp_path


COMMAND = ("study", "evaluate", "predictions.csv", "labels.csv", "--group", "patient_id", "--replicates", "60")


@pytest.mark.usefixtures("files")
def test_it_prints_the_table_of_evaluate(capsys: pytest.CaptureFixture[str]) -> None:
    table = evaluate(Y, PROBS, PATIENTS, classes=CLASSES, n_replicates=60)
    printed = rows(capsys, *COMMAND)
    assert [{**row, "AUROC 95 %": list(row["AUROC 95 %"]), "AUPRC 95 %": list(row["AUPRC 95 %"])} for row in table] == (
        printed
    )
    assert main(COMMAND) == 0
    assert capsys.readouterr().out == f"{table}\n"


@pytest.mark.usefixtures("files")
def test_classes_seed_and_level_are_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    table = evaluate(Y[:, 1], PROBS[:, 1], PATIENTS, classes=["Edema"], n_replicates=60, seed=3, level=0.9)
    assert main([*COMMAND, "--classes", "Edema", "--seed", "3", "--level", "0.9"]) == 0
    assert capsys.readouterr().out == f"{table}\n"


def test_thresholds_come_from_validation_and_calibration_stands_beside(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = zip(Y[:, 0], PROBS[:, 0], strict=True)
    lines = [[f"v{i}", f"v{i}", int(y), int(1 - y), p, 1 - p] for i, (y, p) in enumerate(pairs)]
    for name, columns in (("val_labels.csv", (0, 1, 2, 3)), ("val.csv", (0, 4, 5))):
        header = ["image", "patient_id", *CLASSES] if name == "val_labels.csv" else ["image", *CLASSES]
        write(files / name, header, [[line[c] for c in columns] for line in lines])
    validation = np.column_stack([Y[:, 0], 1 - Y[:, 0]]), np.column_stack([PROBS[:, 0], 1 - PROBS[:, 0]])
    thresholds = choose_thresholds(*validation, rule="sensitivity", target=0.9)
    printed = rows(capsys, *COMMAND, "--thresholds-from", "val.csv", "val_labels.csv",
                   "--rule", "sensitivity", "--target", "0.9", "--calibration")  # fmt: skip
    for expected in (operating_points(Y, PROBS, thresholds), evaluate_calibration(Y, PROBS)):
        for row, line in zip(expected, printed, strict=False):
            assert all(line[name] == value for name, value in row.items() if name != "class")
    assert printed[-1]["class"] == "macro (2)"
    assert printed[-1]["threshold"] is printed[-1]["Brier"] is None


@pytest.mark.usefixtures("files")
def test_subgroups_are_columns_of_the_labels(capsys: pytest.CaptureFixture[str]) -> None:
    table = evaluate_subgroups(Y, PROBS, PATIENTS, bands(AGES, [0, 40]), classes=CLASSES, n_replicates=60)
    assert main([*COMMAND, "--subgroup", "age", "--bands", "0", "40"]) == 0
    assert capsys.readouterr().out == f"{table}\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-2], r"2 images of the labels are missing: 000\.png, 001\.png"),
        (lambda lines: [*lines, ["new.png", 0.5, 0.5, "x"]], r"1 images have no labels: new\.png"),
        (lambda lines: [*lines, lines[0]], r"1 images are named more than once: 089\.png"),
        (lambda lines: [["089.png", "nan", 0.5, "x"], *lines[1:]], r"image '089\.png', class 'Edema': 'nan'; expected"),
        (lambda lines: [["089.png", "", 0.5, "x"], *lines[1:]], r"image '089\.png', class 'Edema': ''; expected"),
    ],
)
def test_predictions_that_do_not_match_are_refused_by_name(
    files: Path, capsys: pytest.CaptureFixture[str], change: object, message: str
) -> None:
    header, *lines = csv.reader((files / "predictions.csv").read_text().splitlines())
    write(files / "predictions.csv", header, change(lines))  # type: ignore[operator]
    assert re.search(message, refusal(capsys, *COMMAND))


@pytest.mark.usefixtures("files")
def test_options_that_do_not_go_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "shares 90 of its 90 images and 30 of its 30 patients" in refusal(
        capsys, *COMMAND, "--thresholds-from", "predictions.csv", "labels.csv"
    )
    assert "--rule and --target need --thresholds-from" in refusal(capsys, *COMMAND, "--rule", "f1")
    assert "--bands needs --subgroup" in refusal(capsys, *COMMAND, "--bands", "0", "40")
    assert "did you mean 'age'" in refusal(capsys, *COMMAND, "--subgroup", "ages")
    assert "--subgroup goes with neither" in refusal(capsys, *COMMAND, "--subgroup", "age", "--calibration")


def test_a_class_that_the_predictions_lack_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (files / "predictions.csv").read_text().replace("Edema", "Oedema")
    (files / "predictions.csv").write_text(text)
    assert "no column 'Edema'; did you mean 'Oedema'" in refusal(capsys, *COMMAND)


def test_logits_given_as_probabilities_are_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *lines = csv.reader((files / "predictions.csv").read_text().splitlines())
    write(files / "predictions.csv", header, [[i, -3.5, b, m] for i, _, b, m in lines])
    assert "apply a sigmoid" in refusal(capsys, *COMMAND, "--calibration")


def test_patients_shared_with_validation_are_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("labels", "predictions"):
        (files / f"val_{name}.csv").write_text((files / f"{name}.csv").read_text().replace(".png", "b.png"))
    line = refusal(capsys, *COMMAND, "--thresholds-from", "val_predictions.csv", "val_labels.csv")
    assert "shares 0 of its 90 images and 30 of its 30 patients with 'val_labels.csv' (patients p00, p01, p02" in line


@pytest.mark.usefixtures("files")
def test_classes_of_few_patients_are_left_out_of_all_columns(capsys: pytest.CaptureFixture[str]) -> None:
    Path("labels.csv").write_text(
        "image,patient_id,Mass,Edema\n"
        + "".join(
            f"{i},{p},{int(Y[n, 0])},{int(n < 6)}\n" for n, (i, p) in enumerate(zip(IMAGES, PATIENTS, strict=True))
        )
    )
    table = evaluate(Y[:, :1], PROBS[:, :1], PATIENTS, classes=["Mass"], n_replicates=60)
    calibration = evaluate_calibration(Y[:, :1], PROBS[:, :1], classes=["Mass"])
    mass, macro = rows(capsys, *COMMAND, "--min-groups", "3", "--calibration")
    assert (mass["class"], macro["class"]) == ("Mass", "macro (1)")
    assert mass["AUROC"] == next(iter(table))["AUROC"]
    assert mass["Brier"] == next(iter(calibration))["Brier"]
    assert "Edema" in {row["class"] for row in rows(capsys, *COMMAND, "--min-groups", "2")}
