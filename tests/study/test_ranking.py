"""AUROC and AUPRC of each class: scikit-learn's numbers, and what AUROC has to obey."""

import numpy as np
import pytest
import torch
from hypothesis import given
from sklearn.metrics import average_precision_score, roc_auc_score

from awb import AWBError
from awb.study import auprc, auroc, macro
from tests.study.strategies import Study, studies


@given(studies(unknown=False))
def test_with_every_label_known_they_are_scikit_learns_multilabel_scores(study: Study) -> None:
    y, s, _ = study
    np.testing.assert_array_equal(auroc(y, s), np.atleast_1d(roc_auc_score(y, s, average=None)))
    np.testing.assert_array_equal(auprc(y, s), np.atleast_1d(average_precision_score(y, s, average=None)))
    assert macro(auroc(y, s)) == pytest.approx(roc_auc_score(y, s, average="macro"), abs=1e-15)


@given(studies())
def test_unknown_labels_are_left_out_of_their_class_alone(study: Study) -> None:
    y, s, _ = study
    expected = [roc_auc_score(y[k, c], s[k, c]) for c, k in enumerate(~np.isnan(y.T))]
    np.testing.assert_array_equal(auroc(y, s), expected)


@pytest.mark.slow
@given(studies())
def test_auroc_does_not_change_under_increasing_maps(study: Study) -> None:
    y, s, _ = study
    for increasing in (lambda x: 3 * x - 7, np.exp2, lambda x: x**3 + x):
        np.testing.assert_array_equal(auroc(y, increasing(s)), auroc(y, s))


@pytest.mark.slow
@given(studies())
def test_flipped_labels_or_scores_give_the_complement(study: Study) -> None:
    y, s, _ = study
    np.testing.assert_allclose(auroc(1 - y, s), 1 - auroc(y, s), atol=1e-15)
    np.testing.assert_allclose(auroc(y, -s), 1 - auroc(y, s), atol=1e-15)


def test_auroc_is_the_share_of_pairs_that_are_in_order() -> None:
    # positives 3, 1; negatives 2, 1: in order are 3>2, 3>1, and half of 1=1
    np.testing.assert_array_equal(auroc([1, 0, 1, 0], [3, 2, 1, 1]), [2.5 / 4])


def test_scores_that_tell_nothing_have_the_prevalence_as_auprc() -> None:
    y = np.zeros(1000)
    y[:30] = 1
    np.testing.assert_allclose(auprc(y, np.ones(1000)), [0.03])


def test_tensors_with_a_gradient_and_in_bfloat16_are_read() -> None:
    y = torch.tensor([0, 1, 0, 1])
    scores = torch.tensor([0.5, 2.0, 1.0, 0.75], dtype=torch.bfloat16, requires_grad=True)
    np.testing.assert_array_equal(auroc(y, scores), [0.75])


def test_a_class_with_one_label_is_an_error_that_names_it() -> None:
    y = np.array([[1.0, 0, np.nan], [0, 0, np.nan], [0, 0, np.nan]])
    with pytest.raises(AWBError, match=r"Hernia \(no positive\), Edema \(no known label\).*undefined='skip'"):
        auroc(y, np.zeros((3, 3)), classes=["Mass", "Hernia", "Edema"])
    with pytest.raises(AWBError, match=r"class 0 \(no negative\)"):
        auprc(np.ones(3), np.arange(3))


def test_a_skipped_class_is_nan_and_not_in_the_macro_mean() -> None:
    y = np.array([[1, 0], [0, 0], [1, 0]])
    values = auroc(y, np.array([[2.0, 1], [1, 2], [0, 3]]), undefined="skip")
    np.testing.assert_array_equal(values, [0.5, np.nan])
    assert macro(values) == 0.5
    with pytest.raises(AWBError, match="one label only"):
        auroc(y[:, 1], np.zeros(3), undefined="skip")  # nothing would be left
    with pytest.raises(AWBError, match="'raise' or 'skip'"):
        auroc(y, np.zeros((3, 2)), undefined="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("y_true", "scores", "message"),
    [
        ([0, 1, 1], [0.1, np.nan, 0.3], "row 1, class 'Mass': scores nan; expected a finite number"),
        ([0, 1, 1], [0.1, 0.2, np.inf], "row 2, class 'Mass': scores inf"),
        ([0, 2, 1], [0.1, 0.2, 0.3], "row 1, class 'Mass': label 2; expected 0, 1 or NaN"),
        ([0, 1], [0.1, 0.2, 0.3], "y_true is 2×1 and scores 3×1"),
        ([], [], "nothing to evaluate"),
        ([[[0]]], [[[1]]], r"y_true has shape \(1, 1, 1\)"),
        (["a"], [0.5], "y_true cannot be read as numbers"),
    ],
)
def test_bad_arrays_are_refused_by_row_and_class(y_true: list, scores: list, message: str) -> None:
    with pytest.raises(AWBError, match=message):
        auroc(y_true, scores, classes=["Mass"])


def test_names_must_fit_the_classes() -> None:
    with pytest.raises(AWBError, match="1 names for 2 classes"):
        auroc(np.eye(2), np.eye(2), classes=["Mass"])
    with pytest.raises(AWBError, match="more than once: 'Mass'"):
        auroc(np.eye(2), np.eye(2), classes=["Mass", "Mass"])
