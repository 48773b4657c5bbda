"""Classes that too few patients have, or have not, are left out and named, exactly as if they were not given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awb import AWBError
from awb.study import LabelTable, compare, evaluate, evaluate_subgroups
from tests.study.strategies import Study, studies

RNG = np.random.default_rng(0)
PATIENTS = np.repeat([f"p{i}" for i in range(60)], 2)
Y = (RNG.random((120, 4)) < [0.4, 0.02, 0.98, 0.3]).astype(float)
Y[:, 1], Y[:, 2] = 0, 1
Y[:8, 1], Y[8:14, 2] = 1, 0  # images of 4 and of 3 patients
SCORES = Y + RNG.normal(size=Y.shape)
OTHER = Y + RNG.normal(size=Y.shape)
CLASSES = ["Mass", "Hernia", "Lines", "Edema"]
NOTE = "left out, since fewer than 5 patients have it or have it not: Hernia, Lines"
OPTIONS: dict[str, Any] = {"n_replicates": 40}


def test_evaluate_is_that_of_the_classes_with_enough_patients() -> None:
    table = evaluate(Y, SCORES, PATIENTS, classes=CLASSES, min_groups=5, **OPTIONS)
    alone = evaluate(Y[:, [0, 3]], SCORES[:, [0, 3]], PATIENTS, classes=["Mass", "Edema"], **OPTIONS)
    assert table == alone.with_notes(NOTE)
    assert [row["class"] for row in table] == ["Mass", "Edema", "macro (2)"]


def test_compare_is_that_of_the_classes_with_enough_patients() -> None:
    table = compare(Y, SCORES, OTHER, PATIENTS, classes=CLASSES, min_groups=5, **OPTIONS)
    use = [0, 3]
    alone = compare(Y[:, use], SCORES[:, use], OTHER[:, use], PATIENTS, classes=["Mass", "Edema"], **OPTIONS)
    assert table == alone.with_notes(NOTE)


def test_one_group_on_each_side_leaves_out_what_is_not_defined() -> None:
    y = np.column_stack([Y[:, 0], np.zeros(120), np.full(120, np.nan)])
    with pytest.raises(AWBError, match="one label only"):
        evaluate(y, SCORES[:, :3], PATIENTS)
    table = evaluate(y, SCORES[:, :3], PATIENTS, min_groups=1, **OPTIONS)
    assert [row["class"] for row in table] == ["class 0", "macro (1)"]
    assert table.notes[-1] == "left out, since there is one label only: class 1, class 2"


def test_where_all_classes_have_enough_nothing_changes() -> None:
    use = [0, 3]
    assert evaluate(Y[:, use], SCORES[:, use], PATIENTS, min_groups=5, **OPTIONS) == evaluate(
        Y[:, use], SCORES[:, use], PATIENTS, **OPTIONS
    )


def test_no_class_is_an_error_and_so_is_no_number() -> None:
    with pytest.raises(AWBError, match=r"no class has 5 groups \(patients\) with it and 5 without"):
        evaluate(Y[:, 1:3], SCORES[:, 1:3], PATIENTS, min_groups=5)
    with pytest.raises(AWBError, match="no class has 61 groups"):
        compare(Y, SCORES, OTHER, PATIENTS, min_groups=61)
    for wrong in (0, -1, 2.5):
        with pytest.raises(AWBError, match=f"min_groups={wrong}; expected an int of at least 1"):
            evaluate(Y, SCORES, PATIENTS, min_groups=wrong)  # type: ignore[arg-type]
    with pytest.raises(AWBError, match=r"120 images, but groups \(patients\) of 119"):
        evaluate(Y, SCORES, PATIENTS[1:], min_groups=5)


def test_subgroups_leave_out_their_own_classes_and_those_without_any_are_named() -> None:
    view = np.array(["AP"] * 60 + ["PA"] * 56 + ["LL"] * 4)
    table = evaluate_subgroups(Y, SCORES, PATIENTS, view, classes=CLASSES, min_groups=3, **OPTIONS)
    assert [(row["subgroup"], row["class"]) for row in table] == [
        *[("AP", name) for name in (*CLASSES, "macro (4)")],
        *[("PA", name) for name in ("Mass", "Edema", "macro (2)")],
    ]
    inside = view == "PA"
    alone = evaluate(Y[inside], SCORES[inside], PATIENTS[inside], classes=CLASSES, min_groups=3, **OPTIONS)
    assert [row[1:] for row in table.rows if row[0] == "PA"] == list(alone.rows)
    assert "PA: left out, since fewer than 3 patients have it or have it not: Hernia, Lines" in table.notes
    assert (
        table.notes[-1] == "left out, since there is no class that 3 of its groups (patients) have and 3 have not: LL"
    )
    with pytest.raises(AWBError, match="no subgroup can be evaluated: each has no class that 40 of its groups"):
        evaluate_subgroups(Y, SCORES, PATIENTS, view, min_groups=40)
    with pytest.raises(AWBError, match="min_groups=0"):
        evaluate_subgroups(Y, SCORES, PATIENTS, view, min_groups=0)


@given(studies(), st.integers(1, 6))
def test_supported_counts_patients_on_both_sides(study: Study, fewest: int) -> None:
    y, _, patients = study
    names = tuple(f"x{c}" for c in range(y.shape[1]))
    table = LabelTable([f"{i}" for i in range(len(y))], names, y, patients)
    expected = []
    for column in y.T:
        sides = [{p for p, label in zip(patients.tolist(), column.tolist(), strict=True) if label == v} for v in (0, 1)]
        expected.append(min(map(len, sides)) >= fewest)
    assert table.supported(fewest).tolist() == expected
    kept = table.classes_of(table.supported(fewest))
    assert kept.classes == tuple(name for name, use in zip(names, expected, strict=True) if use)
    assert kept.supported(fewest).all()


def test_supported_needs_groups() -> None:
    with pytest.raises(AWBError, match="no groups"):
        LabelTable(["a"], ("x",), [[1]]).supported(1)
