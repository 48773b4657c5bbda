"""The report's tables hold the results of the runs, and say what cannot be compared."""

import dataclasses

import numpy as np
import pytest

from awb import Table
from awb.study import Split, evaluate
from examples.chestxray14.evaluation.compare import compare_runs
from examples.chestxray14.evaluation.evaluated_run import MIN_PATIENTS, EvaluatedRun
from examples.chestxray14.reproduction.cells import find_cells
from examples.chestxray14.reproduction.contrasts import contrasts
from examples.chestxray14.reproduction.factors import split_names
from examples.chestxray14.reproduction.maps import against_baselines
from examples.chestxray14.reproduction.results import measure, measure_all
from examples.chestxray14.reproduction.tables import results_table, time_table
from tests.chestxray14.evaluation.runs import changed, macro_auroc, with_split


def table_of(runs: dict[str, EvaluatedRun]) -> Table:
    return results_table(runs, measure_all(runs, 100), 100)


QUESTION = "Do blocks help? Each placement against none"


@pytest.fixture
def plain(run: EvaluatedRun) -> EvaluatedRun:
    """As if a network without blocks had predicted less well."""
    model = run.recipe.model.model_copy(update={"placement": "plain", "attention": None, "init": None})
    return changed(run, recipe=run.recipe.model_copy(update={"model": model}), probs=np.roll(run.probs, 3, axis=0))


@pytest.fixture
def leaking(run: EvaluatedRun) -> EvaluatedRun:
    """As if the run had trained on five of its test images."""
    seen = tuple(run.test.images[:5].tolist())
    return with_split(run, stage2__train=(*run.split.sets["stage2/train"], *seen))


def test_the_table_of_cells_has_scikit_learns_aurocs(run: EvaluatedRun) -> None:
    (row,) = table_of({"last": run})
    assert row["macro AUROC"] == pytest.approx(macro_auroc(run))
    low, high = row["macro AUROC 95 %"]
    assert low <= row["macro AUROC"] <= high
    assert (row["split"], row["test images"]) == (run.split.name, len(run.split.sets["test"]))
    assert row["findings"] == len(run.test.classes) - len(run.unsupported)


def test_results_are_those_of_evaluate(run: EvaluatedRun) -> None:
    options = {"classes": run.test.classes, "n_replicates": 100, "min_groups": MIN_PATIENTS}
    *_, whole = evaluate(run.test.labels, run.probs, run.patients, **options)
    expected = (whole["AUROC"], whole["AUROC 95 %"], whole["AUPRC"], whole["AUPRC 95 %"])
    assert tuple(measure(run, 100).columns.values()) == expected


def test_the_reports_auroc_stands_beside_its_own_task_only(run: EvaluatedRun) -> None:
    on_phantoms = changed(run, recipe=find_cells(["report-ours2"])["report-ours2"])
    on_xrays = changed(on_phantoms, info=on_phantoms.info | {"origin": "NIH"})
    labels = np.random.default_rng(0).random(run.test.labels.shape) < 0.5  # so that each finding has patients enough
    all_14 = dataclasses.replace(on_xrays.test, labels=labels.astype(np.float64))
    whole = changed(on_xrays, test=all_14)
    own = changed(whole, info=whole.info | {"origin": "own"})
    small = changed(whole, recipe=run.recipe)
    cells = {"phantoms": on_phantoms, "a mean of fewer": on_xrays, "X-rays": whole, "own": own, "small": small}
    header = "the 2025 report's AUROC"
    shown = {row["cell"]: row[header] for row in table_of(cells)}
    assert shown == {"phantoms": None, "a mean of fewer": None, "X-rays": 0.8818, "own": None, "small": None}
    del cells["X-rays"]
    assert header not in table_of(cells).headers


def test_it_counts_the_test_images_that_were_trained_on(run: EvaluatedRun, leaking: EvaluatedRun) -> None:
    rows = {row["cell"]: row for row in table_of({"last": run, "leaking": leaking})}
    patients = float(np.isin(run.patients, run.patients[:5]).mean())
    assert (rows["last"]["images seen"], rows["last"]["of seen patients"]) == ("0.0 %", "0.0 %")
    assert rows["leaking"]["images seen"] == f"{100 * 5 / len(run.test):.1f} %"
    assert rows["leaking"]["of seen patients"] == f"{100 * patients:.1f} %"


def test_a_contrast_is_the_difference_of_its_cells(
    run: EvaluatedRun, plain: EvaluatedRun, leaking: EvaluatedRun
) -> None:
    runs = {"plain": plain, "last": run}
    (row,) = contrasts(runs, measure_all(runs, 100))[QUESTION].table
    assert (row["A"], row["B"]) == ("plain", "last")
    *_, whole = compare_runs(plain, run, names=("plain", "last"), n_replicates=100)
    assert row["macro AUROC of B"] == pytest.approx(macro_auroc(run))
    names = {"macro AUROC of A": "plain", "macro AUROC of B": "last", "B − A": "difference", "p": "p", "p (Holm)": "p"}
    assert {ours: row[ours] for ours in names} == {ours: whole[theirs] for ours, theirs in names.items()}
    assert row["95 % interval"] == whole["difference 95 %"]


def test_a_pair_that_cannot_be_compared_is_named(run: EvaluatedRun, plain: EvaluatedRun, leaking: EvaluatedRun) -> None:
    labels = run.test.labels.copy()
    labels[0, 0] = 1 - labels[0, 0]
    other = changed(run, test=dataclasses.replace(run.test, labels=labels))
    for last, words in ((other, "different labels"), (leaking, "seen different parts of their test images")):
        runs = {"plain": plain, "last": last}
        table = contrasts(runs, measure_all(runs, 100))[QUESTION].table
        assert len(table) == 0
        assert f"1 not compared: plain and last have {words}" in "".join(table.notes)


def test_times_are_those_of_the_log(run: EvaluatedRun) -> None:
    rows = list(time_table({"last": run}))
    log = [line.split(",") for line in run.folder.epochs.read_text().splitlines()[1:]]
    assert [(row["stage"], row["epochs"]) for row in rows] == [("abnormal", 2), ("all", 2)]
    assert sum(row["seconds"] for row in rows) == pytest.approx(sum(float(line[-1]) for line in log))


def test_two_splits_of_one_name_are_told_apart(run: EvaluatedRun) -> None:
    sets = {name: tuple(reversed(images))[1:] for name, images in run.split.sets.items()}
    other = changed(run, split=Split(run.split.name, sets, run.split.groups))
    third = changed(run, split=Split("report", run.split.sets, run.split.groups))
    cells = {"one": run, "again": run, "other": other, "third": third}
    names = split_names(cells)
    assert len(set(names.values())) == 3
    assert names[third.split.checksum] == "report"
    for row in table_of(cells):
        assert row["split"] == names[cells[row["cell"]].split.checksum]


def test_a_table_says_which_maps_lose_to_which_baseline() -> None:
    pointing = {"plain": 0.2, "last": 0.35, "centre prior": 0.3, "random map": 0.1, "other patients' boxes": 0.4}
    said = list(against_baselines(Table(("maps", "pointing"), tuple(pointing.items()))))
    assert said[:3] == [
        "pointing above that of centre prior: 1 of 2 cells",
        "pointing above that of random map: 2 of 2 cells",
        "pointing above that of other patients' boxes: 0 of 2 cells",
    ]
