"""A column or class that says that there is nothing is no finding, wherever findings are counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from awb import AWBError
from awb.cli import main
from awb.study import LabelTable, audit_leakage, compare, evaluate, read_labels, split_by_group, two_stage
from awb.study.no_finding import means_no_finding

ROWS = "a,1,1,0\nb,2,0,1\nc,3,1,0\nd,4,1,0\n"  # image, patient, no finding, Mass


def write(tmp_path: Path, name: str = "No Finding", rows: str = ROWS) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(f"image,patient,{name},Mass\n{rows}")
    return path


@pytest.mark.parametrize(
    "name",
    ["No Finding", "no_finding", "NO FINDINGS", "NoFinding", "Normal", "is_normal", "Healthy", "none", "No abnormality",
     "no-abnormalities", "No Disease", "no acute abnormality", "Unremarkable", "Normal CXR", "negative"],
)  # fmt: skip
def test_it_is_known_in_any_spelling_and_an_image_with_it_is_not_abnormal(tmp_path: Path, name: str) -> None:
    table = read_labels(write(tmp_path, name), group="patient")
    assert table.classes == ("Mass",)
    assert table.columns[name].tolist() == ["1", "0", "1", "1"]
    assert table.abnormal.tolist() == [False, True, False, False]
    assert two_stage().stages[0].rows(table).sum() == 1
    assert [row["images"] for row in audit_leakage({"a": table, "b": table}, per_class=False)] == [4, 1]


@pytest.mark.parametrize(
    "name",
    ["Abnormal", "Abnormality", "Finding", "Any finding", "Nodule", "Normal variant nodule", "No"],
)
def test_what_only_looks_like_it_is_a_finding(tmp_path: Path, name: str) -> None:
    assert not means_no_finding(name)
    assert read_labels(write(tmp_path, name, ROWS.replace("b,2,0", "b,2,1").replace("a,1,1", "a,1,0"))).abnormal.any()


def test_beside_a_finding_it_is_a_contradiction_and_named(tmp_path: Path) -> None:
    path = write(tmp_path, rows=ROWS.replace("a,1,1,0", "a,1,1,1").replace("d,4,1,0", "d,4,yes,1"))
    for classes in (None, ["No Finding", "Mass"]):
        with pytest.raises(AWBError, match=r"image 'a': 'No Finding' is 1, and so is 'Mass' \(2 such images\)"):
            read_labels(path, classes=classes)
    with pytest.raises(AWBError, match="'healthy' is 1, and so is 'Mass'"):
        LabelTable(["a"], ("healthy", "Mass"), [[1, 1]])


def test_chexpert_allows_support_devices_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image,No Finding,Support Devices,Edema\na,1,1,0\nb,0,0,1\n")
    assert read_labels(path).classes == ("Support Devices", "Edema")


def test_alone_it_makes_no_table_of_findings(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image,Normal\na,1\nb,0\n")
    with pytest.raises(AWBError, match=r"no column of labels .*'Normal' says that there is none"):
        read_labels(path)


def test_named_as_a_class_it_has_a_row_of_its_own_and_is_in_no_macro_mean(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    findings = (rng.random((200, 2)) < [0.3, 0.2]).astype(float)
    y = np.column_stack([~findings.any(axis=1), findings])
    scores = y + rng.normal(size=y.shape)
    names = ["No Finding", "Mass", "Edema"]
    table = LabelTable([f"{i}" for i in range(200)], names, y, [f"{i // 2}" for i in range(200)])
    np.testing.assert_array_equal(table.abnormal, findings.any(axis=1))
    result = evaluate(y, scores, range(200), classes=names, n_replicates=50)
    rows, alone = list(result), list(evaluate(findings, scores[:, 1:], range(200), classes=names[1:], n_replicates=50))
    assert [row["class"] for row in rows] == [*names, "macro (2 of 3)"]
    assert rows[0]["AUROC"] is not None
    assert {**rows[-1], "class": ""} == {**alone[-1], "class": ""}
    assert "no finding, and not in the macro mean: No Finding" in result.notes
    both = [list(compare(s, a, b, range(200), classes=c, n_replicates=50))[-1] for s, a, b, c in (
        (y, scores, scores**2, names), (findings, scores[:, 1:], scores[:, 1:] ** 2, names[1:]),
    )]  # fmt: skip
    assert {**both[0], "class": ""} == {**both[1], "class": ""}


def test_a_split_is_balanced_as_if_it_were_not_there() -> None:
    rng = np.random.default_rng(0)
    findings = (rng.random((300, 2)) < [0.3, 0.1]).astype(float)
    images, patients = [f"{i}" for i in range(300)], [f"{i // 3}" for i in range(300)]
    with_it = LabelTable(images, ("Normal", "A", "B"), np.column_stack([~findings.any(axis=1), findings]), patients)
    shares = {"train": 0.8, "test": 0.2}
    without = LabelTable(images, ("A", "B"), findings, patients)
    assert split_by_group(with_it, shares).sets == split_by_group(without, shares).sets


def test_evaluate_and_audit_print_no_row_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = str(write(tmp_path))
    (tmp_path / "predictions.csv").write_text("image,Mass,No Finding\na,.1,.9\nb,.8,.1\nc,.3,.7\nd,.2,.8\n")
    command = ["study", "evaluate", str(tmp_path / "predictions.csv"), labels, "--group", "patient"]
    assert main([*command, "--replicates", "20"]) == 0
    out = capsys.readouterr().out
    assert "macro (1)" in out
    assert "no finding, and no row: No Finding" in out  # it does not vanish without a word
    assert main([*command, "--replicates", "20", "--classes", "Mass", "No Finding"]) == 0
    assert "macro (1 of 2)" in capsys.readouterr().out
