"""Thresholds do what their rule says, and the ratios at them are scikit-learn's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef, precision_score, recall_score, roc_curve

from awb import AWBError
from awb.study import choose_thresholds, operating_points, sensitivity_at_specificity
from tests.study.strategies import Study, studies


def _every_decision(y: np.ndarray, s: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Threshold, sensitivity, specificity and F1 of every cut there is, by hand."""
    cuts = [math.inf, *sorted(set(s), reverse=True)]
    return [(t, (s[y == 1] >= t).mean(), (s[y == 0] < t).mean(), f1_score(y, s >= t)) for t in cuts]


@pytest.mark.slow
@given(studies(), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_no_other_threshold_serves_the_rule_better(study: Study, target: float) -> None:
    for c in range(study.y_true.shape[1]):
        known = ~np.isnan(study.y_true[:, c])
        y, s = study.y_true[known, c], study.scores[known, c]
        cuts = _every_decision(y, s)

        def at(rule: str, y: np.ndarray = y, s: np.ndarray = s, target: float | None = None) -> tuple[float, ...]:
            (t,) = choose_thresholds(y, s, rule=rule, target=target)  # type: ignore[arg-type]
            return t, (s[y == 1] >= t).mean(), (s[y == 0] < t).mean(), f1_score(y, s >= t)

        _, sensitivity, specificity, _ = at("youden")
        assert sensitivity + specificity == pytest.approx(max(a + b for _, a, b, _ in cuts))
        assert at("f1")[3] == pytest.approx(max(f1 for *_, f1 in cuts))
        assert at("sensitivity", target=target)[2] == max(b for _, a, b, _ in cuts if a >= target)
        assert at("specificity", target=target)[1] == max(a for _, a, b, _ in cuts if b >= target)
        assert sensitivity_at_specificity(y, s, target) == max(a for _, a, b, _ in cuts if b >= target)


def test_youden_is_the_highest_point_above_the_diagonal_of_scikit_learns_curve() -> None:
    rng = np.random.default_rng(0)
    y = rng.random(500) < 0.3
    s = y + rng.normal(size=500)
    false_positive, true_positive, thresholds = roc_curve(y, s)
    assert choose_thresholds(y, s) == thresholds[np.argmax(true_positive - false_positive)]


def test_where_nothing_should_be_called_positive_the_threshold_is_finite_and_above_all() -> None:
    y, s = [0, 1, 1], [3.0, 2.0, 1.0]
    (threshold,) = choose_thresholds(y, s, rule="specificity", target=1.0)
    assert 3 < threshold < 3.0001
    assert sensitivity_at_specificity(y, s, 1.0) == [0]


@given(studies(), st.integers(0, 1000))
def test_ratios_are_scikit_learns(study: Study, seed: int) -> None:
    thresholds = np.random.default_rng(seed).choice(study.scores.ravel(), study.y_true.shape[1])
    for c, row in enumerate(operating_points(study.y_true, study.scores, thresholds)):
        known = ~np.isnan(study.y_true[:, c])
        y, called = study.y_true[known, c], study.scores[known, c] >= thresholds[c]
        expected = {
            "sensitivity": recall_score(y, called, zero_division=np.nan),
            "specificity": recall_score(y, called, pos_label=0, zero_division=np.nan),
            "PPV": precision_score(y, called, zero_division=np.nan),
            "NPV": precision_score(y, called, pos_label=0, zero_division=np.nan),
            "F1": f1_score(y, called, zero_division=np.nan),
            "MCC": matthews_corrcoef(y, called) if len(set(called)) == 2 else np.nan,
        }
        for name, value in expected.items():
            assert (row[name] is None) if np.isnan(value) else row[name] == pytest.approx(value, abs=1e-12), name


def test_a_ratio_without_a_denominator_is_a_dash_and_not_0() -> None:
    table = operating_points([[0], [1]], [[0.1], [0.2]], [0.5], classes=["Hernia"])
    (row,) = table
    assert row["PPV"] is None
    assert row["MCC"] is None
    assert (row["sensitivity"], row["specificity"], row["F1"]) == (0, 1, 0)
    assert "–" in str(table)


def test_requests_that_make_no_sense_are_refused() -> None:
    y, s = [0, 1], [0.1, 0.2]
    with pytest.raises(AWBError, match="no rule 'yuden'; did you mean 'youden'"):
        choose_thresholds(y, s, rule="yuden")  # type: ignore[arg-type]
    with pytest.raises(AWBError, match="rule='sensitivity' needs a target"):
        choose_thresholds(y, s, rule="sensitivity")
    with pytest.raises(AWBError, match="rule='youden' takes no target"):
        choose_thresholds(y, s, target=0.5)
    with pytest.raises(AWBError, match="target=90"):
        choose_thresholds(y, s, rule="sensitivity", target=90)
    with pytest.raises(AWBError, match=r"class 0 \(no negative\)"):
        choose_thresholds([1, 1], s)
    with pytest.raises(AWBError, match="expected 1 finite numbers"):
        operating_points(y, s, [0.1, 0.2])
    with pytest.raises(AWBError, match="specificity=-1"):
        sensitivity_at_specificity(y, s, -1)
