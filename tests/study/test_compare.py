"""Paired comparisons: exactly 0 for a model and itself, small p for a better one, Holm over the classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awb import AWBError
from awb.study import bootstrap, bootstrap_p, compare, draw_replicates, evaluate, holm, percentile_interval
from benchmarks.coverage import simulate
from tests.study.strategies import Study, studies


@given(studies())
def test_a_model_and_itself_differ_by_exactly_0(study: Study) -> None:
    y, s, patients = study
    for row in compare(y, s, s.copy(), patients, n_replicates=40, max_left_out=0.99):
        assert row["difference"] == 0
        interval = row["difference 95 %"]
        assert interval is None or tuple(interval) == (0, 0)
        assert row["p"] in (None, 1)


@pytest.mark.slow
@given(studies())
def test_swapped_models_have_the_opposite_difference_and_the_same_p(study: Study) -> None:
    y, s, patients = study
    other = np.random.default_rng(0).permutation(s)
    forth, back = (
        list(compare(y, a, b, patients, n_replicates=40, max_left_out=0.99)) for a, b in ((s, other), (other, s))
    )
    for one, two in zip(forth, back, strict=True):
        assert one["difference"] == -two["difference"]
        assert one["p"] == two["p"]


def test_the_difference_is_of_the_same_replicates() -> None:
    study = simulate(np.random.default_rng(0), 150)
    y, worse = study.y_true, study.scores + np.random.default_rng(1).normal(size=len(study.scores))
    row, macro = compare(y, worse, study.scores, study.patients, names=("worse", "better"), n_replicates=500)
    replicates = draw_replicates(study.patients, n_replicates=500)
    differences = bootstrap(y, study.scores, replicates) - bootstrap(y, worse, replicates)
    assert row["difference 95 %"] == percentile_interval(differences[:, 0])
    assert macro["difference 95 %"] == row["difference 95 %"]  # of one class
    assert row["p"] == bootstrap_p(differences[:, 0]) == row["p (Holm)"]
    assert row["better"] - row["worse"] == row["difference"]


def test_a_better_model_is_told_from_a_worse_one_though_their_intervals_overlap() -> None:
    study = simulate(np.random.default_rng(0), 300)
    worse = study.scores + 0.4 * np.random.default_rng(1).normal(size=len(study.scores))
    a, b = (next(iter(evaluate(study.y_true, s, study.patients)))["AUROC 95 %"] for s in (worse, study.scores))
    assert b.low < a.high
    row = next(iter(compare(study.y_true, worse, study.scores, study.patients)))
    assert row["difference 95 %"].low > 0
    assert row["p"] == 2 / 2001


def test_other_metrics_are_compared_too() -> None:
    study = simulate(np.random.default_rng(0), 100)
    noise = study.scores + np.random.default_rng(1).normal(size=len(study.scores))

    def top(y: np.ndarray, s: np.ndarray, sample_weight: np.ndarray) -> float:
        return float(np.average(y[s > 1], weights=sample_weight[s > 1]))

    for metric in ("auprc", top):
        row = next(iter(compare(study.y_true, noise, study.scores, study.patients, metric=metric, n_replicates=200)))
        assert row["difference"] > 0
        low, high = row["difference 95 %"]
        assert low < row["difference"] < high


def test_p_counts_the_replicates_beyond_0() -> None:
    assert bootstrap_p([1.0] * 99) == 2 / 100
    assert bootstrap_p([1.0] * 97 + [-1.0] * 2) == 2 * 3 / 100
    assert bootstrap_p([1.0, -1.0]) == 1
    assert bootstrap_p([1.0] * 9 + [np.nan]) == 2 / 10
    assert np.isnan(bootstrap_p([np.nan]))


def test_holm_by_hand() -> None:
    # Holm 1979: 0.01·4, 0.02·3, 0.03·2 (not below the one before), 0.5·1
    np.testing.assert_allclose(holm([0.02, 0.5, 0.01, 0.03]), [0.06, 0.5, 0.04, 0.06])
    np.testing.assert_allclose(holm([0.02, np.nan, 0.01]), [0.02, np.nan, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float], alpha: float) -> None:
    order = np.argsort(p, kind="stable")
    rejected = np.zeros(len(p), dtype=bool)
    for rank, i in enumerate(order):
        if p[i] * (len(p) - rank) > alpha:
            break
        rejected[i] = True
    np.testing.assert_array_equal(holm(p) <= alpha, rejected)


def test_two_models_need_two_names_and_one_shape() -> None:
    y, s = np.array([0, 1, 0]), np.zeros(3)
    with pytest.raises(AWBError, match=r"models are named \('A', 'A'\)"):
        compare(y, s, s, [0, 1, 2], names=("A", "A"))
    with pytest.raises(AWBError, match="a model named 'p'"):
        compare(y, s, s, [0, 1, 2], names=("A", "p"))
    with pytest.raises(AWBError, match=r"3 images, but groups .* of 2"):
        compare(y, s, s, [0, 1])
    with pytest.raises(AWBError, match="y_true is 3×1 and scores 2×1"):
        compare(y, s, s[:2], [0, 1, 2])
