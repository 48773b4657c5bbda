"""The tables of an evaluation are scikit-learn's, of the findings that enough patients have."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import logit

import awb
from awb.study import LabelTable
from examples.chestxray14.evaluation.decisions import choose_decisions
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun
from examples.chestxray14.evaluation.tables import evaluation_tables
from tests.chestxray14.evaluation.runs import aurocs, macro_auroc


def thresholds(validation: LabelTable, probs: np.ndarray) -> tuple[float | None, ...]:
    return choose_decisions(validation, torch.from_numpy(logit(probs)), "findings", "validation").thresholds


def test_thresholds_that_rest_on_few_patients_are_named() -> None:
    labels = np.zeros((20, 2))
    labels[:8, 0] = labels[0, 1] = 1
    validation = LabelTable([f"{i}.png" for i in range(20)], ("Mass", "Hernia"), labels, [f"p{i}" for i in range(20)])
    chosen = choose_decisions(validation, torch.randn(20, 2), "findings", "validation")
    assert None not in chosen.thresholds
    assert chosen.few_patients == ("Hernia",)


@pytest.fixture
def tables(run: EvaluatedRun) -> dict[str, awb.Table]:
    return dict(evaluation_tables(run.test, run.probs, thresholds(run.test, run.probs), 50))


def test_the_ranking_is_of_findings_with_enough_patients_and_names_the_others(
    run: EvaluatedRun, tables: dict[str, awb.Table]
) -> None:
    table = tables["AUROC and AUPRC"]
    *rows, macro = table
    assert macro["AUROC"] == pytest.approx(macro_auroc(run))
    assert [row["class"] for row in rows] == [n for n in run.test.classes if n not in run.unsupported]
    assert f"fewer than 5 patients have it or have it not: {', '.join(run.unsupported)}" in table.notes[-1]
    assert {row["class"] for row in tables["Calibration"]} >= {row["class"] for row in rows}


def test_subgroups_have_scikit_learns_aurocs_of_the_findings_that_their_patients_have(
    run: EvaluatedRun, tables: dict[str, awb.Table]
) -> None:
    shown = 0
    for column in ("view", "sex"):
        for row in tables[f"Macro, by {column}"]:
            inside = run.test.columns[column] == row["subgroup"]
            patients = run.patients[inside]
            found = aurocs(run.test.labels[inside], run.probs[inside], patients)
            assert row["AUROC"] == pytest.approx(np.mean(found))
            assert (row["images"], row["patients"]) == (inside.sum(), len(set(patients.tolist())))
            assert row["findings"] == len(found)
            shown += 1
    assert shown


def test_an_image_of_no_known_subgroup_is_left_out_and_counted(run: EvaluatedRun) -> None:
    ages = run.test.columns["age"].copy()
    ages[:7] = ""
    test = dataclasses.replace(run.test, columns={"age": ages})
    table = dict(evaluation_tables(test, run.probs, thresholds(test, run.probs), 50))["Macro, by age"]
    assert f"not known: 7 of {len(ages)} images" in "; ".join(table.notes)
    assert all(row["subgroup"] for row in table)


def test_without_a_finding_that_enough_patients_have_there_is_a_note_and_no_result(run: EvaluatedRun) -> None:
    none = dataclasses.replace(run.test, labels=np.zeros_like(run.test.labels))
    ((title, table),) = evaluation_tables(none, run.probs, thresholds(none, run.probs), 50)
    assert (title, len(table)) == ("AUROC and AUPRC", 0)
    assert run.test.classes[-1] in table.notes[0]


def test_a_finding_with_one_label_in_validation_has_no_threshold_and_is_named(run: EvaluatedRun) -> None:
    name = next(n for n in run.test.classes if n not in run.unsupported)
    labels = run.test.labels.copy()
    labels[:, run.test.classes.index(name)] = 0
    validation = dataclasses.replace(run.test, labels=labels)
    tables = dict(evaluation_tables(run.test, run.probs, thresholds(validation, run.probs), 50))
    table = tables["Decisions at thresholds chosen on validation (Youden's)"]
    assert name not in [row["class"] for row in table]
    assert f"validation has one label only: {name}" in "; ".join(table.notes)
