"""Softmax probabilities: scores by their formulas, a temperature at the maximum of the likelihood."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score, log_loss

from awb import AWBError
from awb.study import (
    apply_softmax_temperature,
    evaluate_class_calibration,
    expected_calibration_error,
    fit_softmax_temperature,
    reliability_curve,
    top_class,
)


def drawn(n: int = 2000, c: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and one-hot labels drawn from their softmax."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, c))
    return np.eye(c)[(logits + rng.gumbel(size=logits.shape)).argmax(axis=1)], logits


def test_the_table_has_scikit_learns_scores() -> None:
    labels, logits = drawn()
    probs = apply_softmax_temperature(logits, 0.5)
    truth, called = labels.argmax(axis=1), probs.argmax(axis=1)
    (row,) = evaluate_class_calibration(labels, probs)
    assert row["accuracy"] == accuracy_score(truth, called)
    assert row["mean prob"] == pytest.approx(probs.max(axis=1).mean())
    assert row["Brier"] == pytest.approx(((probs - labels) ** 2).sum(axis=1).mean())
    shares = np.broadcast_to(labels.mean(axis=0), labels.shape)
    assert row["Brier of the shares"] == pytest.approx(((shares - labels) ** 2).sum(axis=1).mean())
    assert row["log loss"] == pytest.approx(log_loss(truth, probs))
    bins = np.minimum((probs.max(axis=1) * 15).astype(int), 14)  # Guo et al. 2017, equation 3
    gaps = [abs((truth == called)[bins == b].mean() - probs.max(axis=1)[bins == b].mean()) * (bins == b).mean()
            for b in set(bins)]  # fmt: skip
    assert row["ECE (width)"] == pytest.approx(sum(gaps))
    assert row["mean prob"] > row["accuracy"] + 0.05  # halving the temperature makes a network too sure


def test_the_predicted_class_is_judged_as_one_class_with_a_label_of_its_own() -> None:
    labels, logits = drawn(20_000)
    probs = apply_softmax_temperature(logits, 1.0)
    labels[:9, 0] = np.nan
    right, confidence = top_class(labels, probs)
    assert np.isnan(right[:9]).all()
    assert np.nanmean(right) == pytest.approx(next(iter(evaluate_class_calibration(labels, probs)))["accuracy"])
    assert sum(row["n"] for row in reliability_curve(right, confidence)) == len(labels) - 9
    assert expected_calibration_error(right, confidence)[0] < 0.015  # drawn from these probabilities


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_a_temperature_is_the_minimum_of_torchs_cross_entropy(factor: float) -> None:
    labels, logits = drawn()
    labels[5] = np.nan
    z, y = torch.from_numpy(logits * factor)[~np.isnan(labels).any(axis=1)], labels[~np.isnan(labels).any(axis=1)]
    numbers = torch.from_numpy(y.argmax(axis=1))
    best = minimize_scalar(lambda t: F.cross_entropy(z / t, numbers).item(), bounds=(0.05, 20), method="bounded",
                           options={"xatol": 1e-9})  # fmt: skip
    temperature = fit_softmax_temperature(labels, logits * factor)
    assert temperature == pytest.approx(best.x, rel=1e-4)
    assert temperature == pytest.approx(factor, rel=0.06)  # the labels were drawn at 1
    probs = apply_softmax_temperature(logits * factor, temperature)
    np.testing.assert_allclose(probs, torch.softmax(torch.from_numpy(logits * factor / temperature), 1), rtol=1e-12)
    assert (probs.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_logits_without_a_temperature_are_refused_with_the_reason() -> None:
    labels, logits = drawn(50)
    with pytest.raises(AWBError, match="no better than chance"):
        fit_softmax_temperature(labels, -logits)
    with pytest.raises(AWBError, match="tells its class already"):
        fit_softmax_temperature(labels, 3 * labels - 1)
    probs = apply_softmax_temperature(logits, 1.0)
    for call in (lambda: fit_softmax_temperature(labels, probs), lambda: apply_softmax_temperature(probs, 1.0)):
        with pytest.raises(AWBError, match=r"all logits lie in 0–1.*before the softmax \(numpy\.log"):
            call()
    with pytest.raises(AWBError, match="temperature=0; expected a number above 0"):
        apply_softmax_temperature(logits, 0)
    with pytest.raises(AWBError, match="logits of one class"):
        apply_softmax_temperature([0.5, 3.0], 1)
    with pytest.raises(AWBError, match="row 0: 0 classes"):
        fit_softmax_temperature(np.zeros((2, 3)), np.zeros((2, 3)))
