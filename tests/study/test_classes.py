"""Ordinary classification: scikit-learn's measures on all images and on every replicate; pairs on the same patients."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from awb import AWBError
from awb.study import (
    LabelTable,
    accuracy,
    balanced_accuracy,
    compare_classes,
    confusion_matrix,
    draw_replicates,
    estimate_classes,
    evaluate_classes,
    evaluate_each_class,
    percentile_interval,
)

NAMES = ["normal", "viral", "bacterial", "covid"]


@st.composite
def class_studies(draw: st.DrawFn, *, unknown: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One-hot labels, probabilities with ties, patients; each class has an image of a patient."""
    n, c = draw(st.integers(8, 40)), draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = rng.integers(c, size=n)
    truth[:c] = np.arange(c)
    weights = rng.integers(1, draw(st.sampled_from([3, 50])), size=(n, c)) + 2 * np.eye(c)[truth]
    labels = np.eye(c)[truth]
    if unknown:
        labels[c:][rng.random(n - c) < 0.2] = np.nan
    patients = rng.integers(draw(st.integers(2, n)), size=n)
    patients[:2] = 0, 1
    return labels, weights / weights.sum(axis=1, keepdims=True), patients


def scikit_learns(labels: np.ndarray, probs: np.ndarray, weight: np.ndarray) -> dict[str, Any]:
    """Measures of the images whose class is known, by scikit-learn; NaN where a class has no image."""
    known = ~np.isnan(labels).any(axis=1) & (weight > 0)
    y, p, w = labels[known].argmax(axis=1), probs[known], weight[known]
    called, each = p.argmax(axis=1), list(range(labels.shape[1]))
    complete = len(set(y.tolist())) == len(each)
    options: dict[str, Any] = {"labels": each, "average": None, "sample_weight": w, "zero_division": np.nan}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {
            "accuracy": metrics.accuracy_score(y, called, sample_weight=w) if len(y) else np.nan,
            "kappa": metrics.cohen_kappa_score(y, called, sample_weight=w) if len(y) else np.nan,
            "sensitivity": metrics.recall_score(y, called, **options),
            "precision": metrics.precision_score(y, called, **options),
            "auroc": [
                metrics.roc_auc_score(y == c, p[:, c], sample_weight=w) if 0 < (y == c).sum() < len(y) else np.nan
                for c in each
            ],
            "balanced_accuracy": np.nan,
            "macro_f1": np.nan,
            "macro_auroc": np.nan,
        }
        if complete:
            found["balanced_accuracy"] = metrics.balanced_accuracy_score(y, called, sample_weight=w)
            found["macro_f1"] = metrics.f1_score(y, called, average="macro", sample_weight=w)
            found["macro_auroc"] = np.mean(found["auroc"])
    return found


@pytest.mark.slow
@settings(max_examples=25)
@given(class_studies())
def test_every_measure_is_scikit_learns_on_all_images_and_on_each_replicate(
    study: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, probs, patients = study
    replicates = draw_replicates(patients, n_replicates=2)
    measures = list(scikit_learns(labels, probs, np.ones(len(labels))))
    ours = {name: estimate_classes(labels, probs, replicates, measure=name) for name in measures}  # type: ignore[arg-type]
    samples = [np.ones(len(labels)), *(replicates.weights(r) for r in range(2))]
    for r, weight in enumerate(samples):
        for name, expected in scikit_learns(labels, probs, weight).items():
            got = ours[name].values if r == 0 else ours[name].sampled[r - 1]
            np.testing.assert_allclose(got, np.atleast_1d(expected), rtol=1e-9, atol=1e-12, err_msg=name)


def example(n: int = 300, seed: int = 0, signal: float = 2.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(1).choice(4, size=n, p=[0.5, 0.3, 0.15, 0.05])
    logits = signal * np.eye(4)[truth] + rng.normal(size=(n, 4))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.eye(4)[truth], probs, np.arange(n) // 3


def test_the_tables_show_scikit_learns_values_with_percentile_intervals_and_count_the_unknown() -> None:
    labels, probs, patients = example()
    expected = scikit_learns(labels, probs, np.ones(300))
    table = evaluate_classes(labels, probs, patients, classes=NAMES, n_replicates=200)
    overall = {row["measure"]: row for row in table}
    assert f"accuracy of always predicting normal: {labels[:, 0].mean():.4g}" in table.notes
    for name, key in (("accuracy", "accuracy"), ("balanced accuracy", "balanced_accuracy"), ("macro F1", "macro_f1"),
                      ("Cohen's kappa", "kappa"), ("macro AUROC", "macro_auroc")):  # fmt: skip
        assert overall[name]["value"] == pytest.approx(expected[key])
    replicates = draw_replicates(patients, n_replicates=200)
    sampled = estimate_classes(labels, probs, replicates).sampled[:, 0]
    assert overall["accuracy"]["95 %"] == percentile_interval(sampled)
    each = list(evaluate_each_class(labels, probs, patients, classes=NAMES, n_replicates=200))
    assert [row["class"] for row in each] == NAMES  # normal is a class as any other
    assert [row["images"] for row in each] == labels.sum(axis=0).tolist()
    assert [row["predicted"] for row in each] == np.bincount(probs.argmax(axis=1), minlength=4).tolist()
    for measure, key in (("sensitivity", "sensitivity"), ("precision", "precision"), ("AUROC", "auroc")):
        assert [row[measure] for row in each] == pytest.approx(list(expected[key]))
    unknown = labels.copy()
    unknown[:7, 2] = np.nan
    again = evaluate_classes(unknown, probs, patients, n_replicates=50)
    assert "293 images; left out, since their class is not known: 7" in again.notes
    assert next(iter(again))["value"] == pytest.approx(accuracy(labels[7:], probs[7:]))


def test_the_confusion_matrix_is_scikit_learns_with_shares_of_the_rows() -> None:
    labels, probs, _ = example()
    expected = metrics.confusion_matrix(labels.argmax(axis=1), probs.argmax(axis=1))
    table = confusion_matrix(labels, probs, classes=NAMES)
    assert table.headers == ("class", "images", "as normal", "as viral", "as bacterial", "as covid")
    np.testing.assert_array_equal([[cell.number for cell in row[2:]] for row in table.rows], expected)
    shares = expected / expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose([[cell.share for cell in row[2:]] for row in table.rows], shares)
    assert str(table.rows[0][2]) == f"{expected[0, 0]} ({100 * shares[0, 0]:.1f} %)"
    none = confusion_matrix(np.eye(3)[[0, 1]], np.eye(3)[[0, 2]])
    assert none.rows[2] == ("class 2", 0, None, None, None)


@given(class_studies())
def test_top_k_and_plain_numbers_are_scikit_learns(study: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    labels, probs, _ = study
    known = ~np.isnan(labels).any(axis=1)
    y, p = labels[known].argmax(axis=1), probs[known]
    assert accuracy(labels, probs) == pytest.approx(metrics.accuracy_score(y, p.argmax(axis=1)))
    assert balanced_accuracy(labels, probs) == pytest.approx(metrics.balanced_accuracy_score(y, p.argmax(axis=1)))
    distinct = p - 1e-6 * np.arange(p.shape[1])  # without ties, which scikit-learn breaks the other way
    for top in range(2, p.shape[1]):
        expected = metrics.top_k_accuracy_score(y, distinct, k=top, labels=list(range(p.shape[1])))
        assert accuracy(labels, probs, top=top) == pytest.approx(expected)
    assert accuracy(labels, probs, top=p.shape[1]) == 1


@pytest.mark.slow
@given(class_studies())
def test_a_model_and_itself_differ_by_exactly_0(study: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    labels, probs, patients = study
    for measure in ("accuracy", "auroc"):
        for row in compare_classes(labels, probs, probs.copy(), patients, measure=measure, n_replicates=8):  # type: ignore[arg-type]
            assert row["difference"] == 0
            assert row["p"] in (None, 1)


def test_the_difference_is_of_the_same_replicates() -> None:
    labels, better, patients = example()
    _, worse, _ = example(seed=2, signal=1.0)
    (row,) = compare_classes(labels, worse, better, patients, names=("worse", "better"), n_replicates=300)
    replicates = draw_replicates(patients, n_replicates=300)
    sampled = [estimate_classes(labels, probs, replicates).sampled[:, 0] for probs in (better, worse)]
    assert row["difference 95 %"] == percentile_interval(sampled[0] - sampled[1])
    assert row["difference"] == pytest.approx(accuracy(labels, better) - accuracy(labels, worse))
    assert row["p"] == 2 / 301
    *each, macro = compare_classes(labels, worse, better, patients, measure="sensitivity", classes=NAMES)
    assert [one["class"] for one in each] == NAMES
    assert macro["class"] == "macro (4)"
    assert macro["B"] == pytest.approx(balanced_accuracy(labels, better))
    assert macro["p (Holm)"] is None


def test_classes_of_few_patients_are_left_out_of_means_and_named_but_not_of_accuracy() -> None:
    labels, probs, patients = example()
    labels[0], labels[1:][labels[1:, 3] == 1] = np.eye(4)[3], np.eye(4)[0]  # one image of the last class
    table = evaluate_classes(labels, probs, patients, min_groups=5)
    values = {row["measure"]: row["value"] for row in table}
    assert values["accuracy"] == pytest.approx(accuracy(labels, probs))
    sensitivities = [row["sensitivity"] for row in evaluate_each_class(labels, probs, patients, min_groups=5)]
    assert len(sensitivities) == 3
    assert values["balanced accuracy"] == pytest.approx(np.mean(sensitivities))
    assert any("over 3 of 4 classes" in note for note in table.notes)
    assert table.notes[-1] == "left out, since fewer than 5 patients have it or have it not: class 3"


def test_there_is_no_mean_over_a_single_class() -> None:
    labels, probs, patients = example(90)
    table = evaluate_classes(labels, probs, patients, min_groups=29, n_replicates=20)
    values = {row["measure"]: row["value"] for row in table}
    assert values["accuracy"] == pytest.approx(accuracy(labels, probs))
    assert [values[name] for name in ("balanced accuracy", "macro F1", "macro AUROC")] == [None] * 3
    assert any("a mean over" in note for note in table.notes)


def test_a_class_without_images_is_refused_or_skipped() -> None:
    labels, probs, patients = example()
    labels[labels[:, 3] == 1] = np.eye(4)[0]
    for call in (evaluate_classes, evaluate_each_class):
        with pytest.raises(AWBError, match=r"covid \(no positive\); undefined='skip'"):
            call(labels, probs, patients, classes=NAMES)
    values = {row["measure"]: row["value"] for row in evaluate_classes(labels, probs, patients, undefined="skip")}
    assert values["balanced accuracy"] == pytest.approx(balanced_accuracy(labels, probs))
    *_, last = evaluate_each_class(labels, probs, patients, undefined="skip")
    assert (last["sensitivity"], last["AUROC"], last["AUROC 95 %"]) == (None, None, None)


def test_what_is_always_right_has_no_interval_and_what_is_never_predicted_no_precision() -> None:
    labels = np.eye(3)[np.arange(60) % 3]
    table = evaluate_classes(labels, labels, range(60), n_replicates=100)
    assert all(row["value"] == 1 and row["95 %"] is None for row in table)
    assert any("all replicates have the same value: accuracy" in note for note in table.notes)
    probs = np.where(labels == 1, 0.4, 0.3)
    probs[:, 2] = 0
    probs /= probs.sum(axis=1, keepdims=True)
    *_, last = (each := evaluate_each_class(labels, probs, range(60), classes=list("abc"), n_replicates=100))
    assert (last["predicted"], last["sensitivity"], last["precision"], last["precision 95 %"]) == (0, 0, None, None)
    assert "never predicted, and without a precision: c" in each.notes


@pytest.mark.parametrize(
    ("labels", "probs", "words"),
    [
        ([[1, 0], [1, 1]], [[0.5, 0.5]] * 2, "row 1: 2 classes are 1; expected exactly one of 2"),
        ([[0, 0], [0, 0]], [[0.5, 0.5]] * 2, r"row 0: 0 classes are 1; .* \(2 such images\)"),
        ([[1, 0], [0, 1]], [[0.5, 0.5], [0.9, 0.9]], "row 1: probabilities sum to 1.8; .* softmax"),
        ([[1, 0], [0, 1]], [[2.0, -1.0]] * 2, "row 0, class 'class 0': probs 2"),
        ([0, 1], [0.5, 0.5], r"one class; .*numpy\.eye\(C\)\[numbers\]"),
        ([[np.nan, 0]], [[0.5, 0.5]], "no image has a known class"),
    ],
)
def test_arrays_that_are_not_of_one_class_each_are_refused(labels: Any, probs: Any, words: str) -> None:
    for call in (accuracy, confusion_matrix):
        with pytest.raises(AWBError, match=words):
            call(labels, probs)


def test_a_measure_of_all_images_leaves_no_class_out() -> None:
    labels, probs, patients = example()
    rare = np.hstack([labels, np.zeros((len(labels), 1))])
    rare[0] = [0, 0, 0, 0, 1]
    wider = np.hstack([probs * 0.9, np.full((len(probs), 1), 0.1)])
    notes = {
        measure: " ".join(compare_classes(rare, wider, wider, patients, measure=measure, min_groups=5).notes)  # type: ignore[arg-type]
        for measure in ("accuracy", "kappa", "balanced_accuracy")
    }
    assert "left out" in notes["balanced_accuracy"]
    assert "left out" not in notes["accuracy"] + notes["kappa"]


def test_a_measure_or_model_that_cannot_be_is_refused() -> None:
    labels, probs, patients = example()
    with pytest.raises(AWBError, match=r"no measure 'acuracy'; did you mean 'accuracy'\?; there are"):
        estimate_classes(labels, probs, draw_replicates(patients), measure="acuracy")  # type: ignore[arg-type]
    with pytest.raises(AWBError, match=r"models are named \('A', 'A'\)"):
        compare_classes(labels, probs, probs, patients, names=("A", "A"))
    with pytest.raises(AWBError, match="top=5; expected an int from 1 to 4"):
        accuracy(labels, probs, top=5)
    with pytest.raises(AWBError, match=r"300 images, but groups .* of 3"):
        evaluate_classes(labels, probs, range(3))


def test_a_table_says_whether_its_classes_exclude_each_other() -> None:
    one = LabelTable(["a", "b", "c"], ("normal", "viral"), [[1, 0], [0, 1], [np.nan, np.nan]])
    assert one.exclusive
    one.require_exclusive()
    several = LabelTable(["a", "b", "c"], ("mass", "edema"), [[1, 0], [1, 1], [0, 0]])
    assert not several.exclusive
    with pytest.raises(AWBError, match=r"labels\.csv: image 'b' has 2 classes \(mass, edema\), and so 2 of 3 images"):
        several.require_exclusive("labels.csv")
    aside = LabelTable(["a", "b"], ("mass", "edema"), [[0, 0], [0, 1]], columns={"Normal": ["1", "0"]})
    with pytest.raises(AWBError, match=r"image 'a' has no class.*'Normal' was not read as a class: name it"):
        aside.require_exclusive()
    assert not LabelTable(["a"], ("mass",), [[1]]).exclusive
