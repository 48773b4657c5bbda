"""Runs are compared on the same patients only, and only if they have seen the same of them in training."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import awb
from awb.study import Split
from examples.chestxray14.__main__ import main
from examples.chestxray14.evaluation.compare import compare_runs, compare_with_first
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun
from examples.chestxray14.recipes.stage_settings import CrossEntropySettings
from tests.chestxray14.evaluation.runs import aurocs, changed, macro_auroc, with_split


def test_a_run_compared_with_itself_differs_by_nothing(run: EvaluatedRun) -> None:
    for row in compare_runs(run, run, names=("one", "two"), n_replicates=100):
        assert row["difference"] == 0


def test_the_difference_is_that_of_the_findings_with_enough_patients(run: EvaluatedRun) -> None:
    worse = changed(run, probs=np.roll(run.probs, 7, axis=0))
    ((title, table),) = compare_with_first({"A": run, "B": worse}, n_replicates=100)
    assert title == "B against A"
    *rows, macro = table
    assert [row["class"] for row in rows] == [name for name in run.test.classes if name not in run.unsupported]
    expected = np.mean(aurocs(run.test.labels, worse.probs, run.patients)) - macro_auroc(run)
    assert macro["difference"] == pytest.approx(expected)
    assert f"have it or have it not: {', '.join(run.unsupported)}" in table.notes[-1]


def test_runs_without_a_finding_that_enough_patients_have_are_not_compared(run: EvaluatedRun) -> None:
    test = dataclasses.replace(run.test, labels=np.zeros_like(run.test.labels))
    none = changed(run, test=test)
    with pytest.raises(awb.AWBError, match="no class has 5 groups"):
        compare_runs(none, none, names=("one", "two"))


def test_the_command_prints_and_writes_the_difference(
    stored: Path, run: EvaluatedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again"
    again.mkdir()
    for path in (stored / "finished").rglob("*"):
        if path.is_file():
            copy = again / path.relative_to(stored / "finished")
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    out = tmp_path / "compared.md"
    folders = [str(stored / "finished"), str(again)]
    assert main(["compare", *folders, "--replicates", "40", "--out", str(out)]) == 0
    printed, written = capsys.readouterr().out, out.read_text()
    for text in (printed, written):
        assert text.startswith("SYNTHETIC phantoms")
        assert "again against finished" in text
        assert f"{macro_auroc(run):.4g}" in text
    assert main(["compare", folders[0], folders[0]]) == 2
    assert "finished is given twice; a run does not differ from itself" in capsys.readouterr().err
    assert main(["compare", folders[0]]) == 2
    assert "give two or more" in capsys.readouterr().err


def test_runs_on_other_images_labels_or_patients_are_not_compared(run: EvaluatedRun) -> None:
    labels = run.test.labels.copy()
    labels[0, 0] = 1 - labels[0, 0]
    for words, test in (
        ("different test sets", run.test.take(np.arange(len(run.test))[::-1])),
        ("different labels for the same", dataclasses.replace(run.test, labels=labels)),
        ("different patients for the same", dataclasses.replace(run.test, groups=run.test.images)),
    ):
        with pytest.raises(awb.AWBError, match=words):
            compare_runs(run, changed(run, test=test), names=("one", "two"))


def test_runs_that_have_seen_other_parts_of_the_test_set_are_not_compared(run: EvaluatedRun) -> None:
    seen = str(run.test.images[0])
    other = with_split(run, stage2__train=(*run.split.sets["stage2/train"], seen))
    assert other.leak.images.sum() == 1
    with pytest.raises(awb.AWBError, match=r"different parts of their test images in training \(one 0\.0 %, more 2\.0"):
        compare_runs(run, other, names=("one", "more"))
    assert all(row["difference"] == 0 for row in compare_runs(other, other, names=("one", "same"), n_replicates=40))


def test_patients_that_are_shared_are_a_leak_without_a_shared_image(run: EvaluatedRun) -> None:
    patient = str(run.patients[0])
    stolen = run.split.sets["stage2/train"][0]  # one training image becomes a test patient's
    groups = dict(run.split.groups) | {stolen: patient}
    leaking = changed(run, split=Split(run.split.name, run.split.sets, groups))
    share = float((run.patients == patient).mean())
    assert (leaking.leak.images.mean(), leaking.leak.patients.mean()) == (0.0, pytest.approx(share))
    assert leaking.leak.note().startswith(
        f"LEAK: 0.0 % of the test images were trained or chosen on, {100 * share:.1f} %"
    )
    with pytest.raises(awb.AWBError, match="different parts of their test images by their patients"):
        compare_runs(run, leaking, names=("last", "leak"))


def test_runs_for_findings_and_for_classes_are_not_compared(run: EvaluatedRun) -> None:
    stages = tuple(
        stage.model_copy(update={"loss": CrossEntropySettings(kind="cross_entropy")}) for stage in run.recipe.stages
    )
    classes = changed(run, recipe=run.recipe.model_copy(update={"stages": stages}))
    with pytest.raises(awb.AWBError, match="one was trained for findings and two for classes"):
        compare_runs(run, classes, names=("one", "two"))
    with pytest.raises(awb.AWBError, match="--metric accuracy: runs of findings are compared by auroc, auprc"):
        compare_runs(run, run, names=("one", "two"), metric="accuracy")
