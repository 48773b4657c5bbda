"""Brier and reliability are scikit-learn's; a temperature is the maximum of the likelihood."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from awb import AWBError
from awb.study import (
    apply_temperature,
    auroc,
    brier_score,
    evaluate_calibration,
    expected_calibration_error,
    fit_temperature,
    reliability_curve,
)
from tests.study.strategies import Study, studies

NAMES = {"width": "uniform", "mass": "quantile"}


@given(studies())
def test_brier_is_scikit_learns_without_the_unknown(study: Study) -> None:
    y, probs = study.y_true, expit(study.scores)
    known = ~np.isnan(y)
    expected = [brier_score_loss(y[k, c], probs[k, c]) for c, k in enumerate(known.T)]
    np.testing.assert_allclose(brier_score(y, probs), expected, atol=1e-15)


@given(studies(unknown=False), st.integers(1, 12), st.sampled_from(["width", "mass"]))
def test_the_curve_is_scikit_learns_and_ece_is_its_weighted_distance_from_the_diagonal(
    study: Study, n_bins: int, binning: str
) -> None:
    y, probs = study.y_true[:, 0], expit(study.scores[:, 0] - 1)
    share, mean = calibration_curve(y, probs, n_bins=n_bins, strategy=NAMES[binning])
    rows = list(reliability_curve(y, probs, n_bins=n_bins, binning=binning))  # type: ignore[arg-type]
    np.testing.assert_allclose([row["share of positives"] for row in rows], share)
    np.testing.assert_allclose([row["mean prob"] for row in rows], mean)
    count = np.array([row["n"] for row in rows])
    assert count.sum() == len(y)
    ece = expected_calibration_error(y, probs, n_bins=n_bins, binning=binning)  # type: ignore[arg-type]
    np.testing.assert_allclose(ece, count @ np.abs(share - mean) / len(y))


def test_probabilities_that_mean_what_they_say_have_an_ece_near_0_and_overconfident_ones_have_not() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=100_000) * 2 - 1
    y = rng.random(100_000) < expit(logits)
    for binning in ("width", "mass"):
        assert expected_calibration_error(y, expit(logits), binning=binning)[0] < 0.01
        assert expected_calibration_error(y, expit(3 * logits), binning=binning)[0] > 0.05


def test_one_bin_measures_calibration_at_large() -> None:
    y, probs = np.array([0, 0, 0, 1]), np.array([0.1, 0.2, 0.3, 0.2])
    np.testing.assert_allclose(expected_calibration_error(y, probs, n_bins=1), [0.05])


def test_the_table_names_the_brier_of_the_prevalence() -> None:
    (row,) = evaluate_calibration([0, 0, 0, 1], [0.25] * 4)
    assert row["prevalence"] == row["mean prob"] == 0.25
    assert row["Brier"] == row["Brier of prevalence"] == 0.1875
    assert row["ECE (width)"] == row["ECE (mass)"] == 0


def test_a_class_without_a_known_label_is_a_dash() -> None:
    rows = list(evaluate_calibration([[0, np.nan], [1, np.nan]], [[0.5, 0.5], [0.5, 0.5]]))
    assert rows[1]["Brier"] is None
    assert rows[1]["ECE (mass)"] is None


def test_a_temperature_that_was_put_in_is_found_again_class_by_class() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200_000, 2)) * 2
    y = rng.random(logits.shape) < expit(logits)
    np.testing.assert_allclose(fit_temperature(y, logits * [3, 0.2]), [3, 0.2], rtol=0.03)


@given(studies())
def test_no_nearby_temperature_is_more_likely_and_the_ranking_stays(study: Study) -> None:
    logits = study.scores - study.scores.mean() + 0.3 * (study.y_true == 1)
    for c in range(logits.shape[1]):
        known = ~np.isnan(study.y_true[:, c])
        y, z = study.y_true[known, c], logits[known, c]
        if len(z) >= 20 and ((z >= 0) & (z <= 1)).all():
            continue  # probabilities to all appearances, which are refused
        if (y - 0.5) @ z <= 0:
            with pytest.raises(AWBError, match="no better than chance"):
                fit_temperature(y, z)
            continue
        if (z[y == 1] >= 0).all() and (z[y == 0] <= 0).all():
            with pytest.raises(AWBError, match="sign of its logits"):
                fit_temperature(y, z)
            continue
        (t,) = fit_temperature(y, z)
        if 0.05 < t < 20:  # where the likelihood is not flat
            best, *others = (log_loss(y, apply_temperature(z, [x]), labels=[0, 1]) for x in (t, t * 0.9, t * 1.1))
            assert best <= min(others)
            assert auroc(y, apply_temperature(z, [t])) == pytest.approx(auroc(y, z), abs=1e-12)


def test_logits_without_a_temperature_are_refused_with_the_reason() -> None:
    with pytest.raises(AWBError, match="class 'Edema': no temperature, its logits are no better than chance"):
        fit_temperature([0, 1], [1.0, -1.0], classes=["Edema"])
    with pytest.raises(AWBError, match="class 'Edema': no temperature, the sign of its logits tells every label"):
        fit_temperature([0, 1], [-1.0, 1.0], classes=["Edema"])


def test_probabilities_outside_0_to_1_are_refused_with_a_hint() -> None:
    for metric in (brier_score, expected_calibration_error, reliability_curve, evaluate_calibration):
        with pytest.raises(AWBError, match=r"row 1, class 'Mass': probs -2\.5; .*logits, apply a sigmoid"):
            metric([0, 1], torch.tensor([0.5, -2.5]), classes=["Mass"])


def test_bins_and_temperatures_are_checked() -> None:
    with pytest.raises(AWBError, match="n_bins=0"):
        reliability_curve([0, 1], [0.5, 0.5], n_bins=0)
    with pytest.raises(AWBError, match="binning='uniform'; expected 'width' or 'mass'"):
        expected_calibration_error([0, 1], [0.5, 0.5], binning="uniform")  # type: ignore[arg-type]
    with pytest.raises(AWBError, match="expected 1 positive numbers"):
        apply_temperature([0.5, 1.0], [0.0])


def test_probabilities_in_place_of_logits_are_refused() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((100, 2)) < 0.3).astype(float)
    logits = 2 * y - 1 + rng.normal(size=y.shape)
    probs = apply_temperature(logits, [1, 1])
    for call in (lambda: fit_temperature(y, probs), lambda: apply_temperature(probs, [1, 1])):
        with pytest.raises(AWBError, match="all logits lie in 0–1, as probabilities do"):
            call()
    assert (fit_temperature(y, logits) > 0).all()
    assert apply_temperature([0.5, 1.0], [1]).shape == (2,)  # two logits may lie there
