"""Estimates with their replicates: hand-computed means and differences, and the numbers that the tables print."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from awb import AWBError
from awb.study import (
    Estimates,
    Interval,
    auprc,
    auroc,
    bias_corrected_interval,
    bootstrap,
    bootstrap_p,
    compare,
    draw_replicates,
    estimate,
    evaluate,
    holm,
    percentile_interval,
)
from tests.study.strategies import Study, studies

NAMES = ("Mass", "Edema")
A = Estimates(NAMES, [0.70, 0.80], [[0.6, 0.8], [0.7, 0.8], [0.8, 0.8]])
B = Estimates(NAMES, [0.75, 0.85], [[0.7, 0.9], [0.7, 0.8], [0.9, np.nan]])
RNG = np.random.default_rng(0)
PATIENTS = np.repeat(np.arange(80), 3)
Y = (RNG.random((240, 4)) < [0.4, 0.2, 0.1, 0.5]).astype(float)
Y[:, 3] = Y[:, :3].sum(axis=1) == 0
SCORES = Y + RNG.normal(size=Y.shape)
OTHER = Y + 2 * RNG.normal(size=Y.shape)
Y[RNG.random(Y.shape) < 0.05] = np.nan
CLASSES = ("Mass", "Edema", "Hernia", "No Finding")


def test_a_difference_and_its_mean_by_hand() -> None:
    difference = B.minus(A)
    assert difference.classes == NAMES
    np.testing.assert_allclose(difference.values, [0.05, 0.05])
    np.testing.assert_allclose(difference.sampled, [[0.1, 0.1], [0, 0], [0.1, np.nan]])
    mean = difference.macro()
    assert mean.classes == ("macro (2)",)
    np.testing.assert_allclose(mean.values, [0.05])
    np.testing.assert_allclose(mean.sampled, [[0.1], [0], [np.nan]])  # no mean of another number of classes
    every = difference.with_macro()
    assert every.classes == (*NAMES, "macro (2)")
    np.testing.assert_array_equal(every.sampled, np.column_stack([difference.sampled, mean.sampled]))


@pytest.mark.parametrize(("patients", "seed"), [(PATIENTS, 1), (np.repeat(np.arange(120), 2), 0), (np.arange(240), 0)])
def test_what_is_not_paired_has_no_difference(patients: np.ndarray, seed: int) -> None:
    """Its interval would be of two independent draws, and far too wide."""
    drawn = draw_replicates(PATIENTS, n_replicates=50)
    a = estimate(Y, SCORES, drawn, classes=CLASSES)
    b = estimate(Y, OTHER, draw_replicates(patients, n_replicates=50, seed=seed), classes=CLASSES)
    for pair in ((a, b), (a.macro(), b.macro()), (a.with_macro(), b.with_macro())):
        with pytest.raises(AWBError, match="other patients or another seed, which are not paired"):
            pair[0].minus(pair[1])
        with pytest.raises(AWBError, match="not paired"):
            Estimates.mean_of(pair)
    again = estimate(Y, OTHER, draw_replicates(PATIENTS, n_replicates=50), classes=CLASSES)
    np.testing.assert_array_equal(again.minus(a).sampled, estimate(Y, OTHER, drawn).sampled - a.sampled)


def test_the_mean_of_runs_by_hand() -> None:
    mean = Estimates.mean_of([A, B])
    np.testing.assert_allclose(mean.values, [0.725, 0.825])
    np.testing.assert_allclose(mean.sampled, [[0.65, 0.85], [0.7, 0.8], [0.85, np.nan]])
    one = Estimates.mean_of([A])
    np.testing.assert_array_equal(one.values, A.values)


def test_intervals_and_p_by_hand() -> None:
    few = Estimates(("x", "y", "z"), [0.02, 0.5, 0.0], [[-0.01, 0.1, np.nan], [0.01, 0.2, 0.0], [0.05, 0.3, 0.0]])
    # linear between the sorted replicates, 2 of them apart: 0.025 and 0.975 of the way lie at 0.05 and 1.95
    x, y, z = few.intervals()
    assert x == pytest.approx((-0.01 + 0.05 * 0.02, 0.01 + 0.95 * 0.04))
    assert y is None  # it would not hold 0.5
    assert z is None  # a third of its replicates is undefined
    assert few.intervals(max_left_out=0.5)[2] == Interval(0, 0)
    np.testing.assert_array_equal(few.p_values(), [1.0, np.nan, np.nan])  # 2 · (1 + 1) / (3 + 1), at most 1


def test_what_is_averaged_is_what_evaluate_averages() -> None:
    odd = Estimates(("Mass", "Edema", "No Finding"), [0.7, np.nan, 0.9], np.full((2, 3), 0.5))
    assert odd.averaged.tolist() == [True, False, False]
    assert odd.macro().classes == ("macro (1 of 3)",)
    assert odd.macro().values.tolist() == [0.7]
    assert odd.macro([True, False, True]).values.tolist() == pytest.approx([0.8])
    assert Estimates(("Normal",), [0.9], [[0.9]]).averaged.tolist() == [True]
    assert np.isnan(Estimates(("Mass",), [np.nan], [[np.nan]]).macro().values).all()


@pytest.mark.parametrize("metric", ["auroc", "auprc"])
def test_evaluate_prints_these_estimates(metric: str) -> None:
    found = estimate(Y, SCORES, draw_replicates(PATIENTS, n_replicates=150, seed=5), metric=metric, classes=CLASSES)  # type: ignore[arg-type]
    every = found.with_macro()
    table = list(evaluate(Y, SCORES, PATIENTS, classes=CLASSES, n_replicates=150, seed=5))
    name = metric.upper()
    assert [row["class"] for row in table] == list(every.classes)
    assert [row[name] for row in table] == every.values.tolist()
    intervals = every.intervals()
    if metric == "auprc":
        intervals[-1] = bias_corrected_interval(every.sampled[:, -1], every.values[-1])
    assert [row[f"{name} 95 %"] for row in table] == intervals


def test_compare_prints_these_differences() -> None:
    replicates = draw_replicates(PATIENTS, n_replicates=150, seed=2)
    a, b = (estimate(Y, scores, replicates, classes=CLASSES) for scores in (OTHER, SCORES))
    difference = b.minus(a).with_macro()
    table = list(compare(Y, OTHER, SCORES, PATIENTS, classes=CLASSES, n_replicates=150, seed=2))
    assert [row["difference"] for row in table] == difference.values.tolist()
    assert [row["difference 95 %"] for row in table] == difference.intervals()
    p = difference.p_values()
    assert [row["p"] for row in table] == p.tolist()
    assert [row["p (Holm)"] for row in table[:-1]] == holm(p[:-1]).tolist()


@given(studies())
def test_estimates_are_the_metric_and_its_bootstrap(study: Study) -> None:
    y, s, patients = study
    replicates = draw_replicates(patients, n_replicates=20)
    for metric, plain in (("auroc", auroc), ("auprc", auprc)):
        found = estimate(y, s, replicates, metric=metric)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found.values, plain(y, s))
        np.testing.assert_array_equal(found.sampled, bootstrap(y, s, replicates, metric=metric))  # type: ignore[arg-type]
        zero = found.minus(found)
        assert not zero.values.any()
        for column, interval, p in zip(found.sampled.T, found.intervals(), found.p_values(), strict=True):
            assert interval in (None, percentile_interval(column))
            assert np.isnan(p) if interval is None else p == bootstrap_p(column)


def test_a_class_with_one_label_is_an_error_or_undefined() -> None:
    y = np.column_stack([Y[:, 0], np.zeros(240)])
    replicates = draw_replicates(PATIENTS, n_replicates=10)
    with pytest.raises(AWBError, match=r"AUROC is not defined .*Hernia \(no positive\)"):
        estimate(y, SCORES[:, :2], replicates, classes=["Mass", "Hernia"])
    found = estimate(y, SCORES[:, :2], replicates, classes=["Mass", "Hernia"], undefined="skip")
    assert np.isnan(found.values).tolist() == [False, True]
    assert found.intervals()[1] is None


def test_what_is_not_paired_is_refused() -> None:
    with pytest.raises(AWBError, match="estimates of Hernia beside Mass, Edema; expected the same classes"):
        A.minus(Estimates(("Hernia",), [0.5], [[0.5]]))
    with pytest.raises(AWBError, match="1 replicates beside 3"):
        A.minus(Estimates(NAMES, [0.5, 0.5], [[0.5, 0.5]]))
    with pytest.raises(AWBError, match="no estimates"):
        Estimates.mean_of([])
    with pytest.raises(AWBError, match=r"values have shape \(1,\) and sampled \(3, 2\)"):
        Estimates(NAMES, [0.5], A.sampled)
