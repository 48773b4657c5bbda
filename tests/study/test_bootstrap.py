"""The patient-clustered bootstrap: scikit-learn's weighted numbers replicate by replicate, and intervals that cover."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from awb import AWBError
from awb.study import Interval, bias_corrected_interval, bootstrap, draw_replicates, percentile_interval
from benchmarks import coverage_macro
from benchmarks.coverage import TRUE_AUROC, simulate, simulate_intervals
from tests.levels import slow_but
from tests.study.strategies import Study, studies

SKLEARN = {"auroc": roc_auc_score, "auprc": average_precision_score}


@pytest.mark.parametrize("metric", slow_but(["auprc"], ["auroc", "auprc"]))
@given(study=studies(), seed=st.integers(0, 100))
def test_every_replicate_is_scikit_learns_weighted_number(metric: str, study: Study, seed: int) -> None:
    y, s, patients = study
    replicates = draw_replicates(patients, n_replicates=35, seed=seed)  # more than one block
    ours = bootstrap(y, s, replicates, metric=metric)
    for r in (0, 1, 2, 3, 31, 32, 34):
        weights = replicates.weights(r)
        for c in range(y.shape[1]):
            drawn = ~np.isnan(y[:, c]) & (weights > 0)
            if len(set(y[drawn, c])) < 2:
                assert np.isnan(ours[r, c])
            else:
                expected = SKLEARN[metric](y[drawn, c], s[drawn, c], sample_weight=weights[drawn])
                assert ours[r, c] == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
@given(studies())
def test_a_function_is_called_with_the_same_weights(study: Study) -> None:
    y, s, patients = study
    replicates = draw_replicates(patients, n_replicates=5)
    np.testing.assert_allclose(
        bootstrap(y, s, replicates, metric=roc_auc_score), bootstrap(y, s, replicates), atol=1e-12
    )


def test_any_metric_with_weights_can_be_given() -> None:
    y, s, patients = np.array([0, 1, 1, 0]), np.array([0.2, 0.9, 0.4, 0.1]), np.array([0, 0, 1, 1])
    replicates = draw_replicates(patients, n_replicates=20)
    values = bootstrap(y, s, replicates, metric=brier_score_loss)
    # patient 0 alone, both, or patient 1 alone
    assert set(np.round(values[:, 0], 12)) == {0.025, 0.105, 0.185}


def test_a_replicate_draws_as_many_patients_as_there_are_and_all_their_images() -> None:
    patients = np.array(["b", "a", "a", "c", "b"])
    replicates = draw_replicates(patients, n_replicates=100, seed=3)
    for r in range(100):
        weights = replicates.weights(r)
        one_each = [weights[patients == name] for name in "abc"]
        assert all(len(set(of_patient)) == 1 for of_patient in one_each)
        assert sum(of_patient[0] for of_patient in one_each) == 3


def test_replicates_depend_on_the_seed_alone_and_do_not_repeat() -> None:
    def drawn(n_replicates: int, seed: int) -> list:
        replicates = draw_replicates(np.arange(50), n_replicates=n_replicates, seed=seed)
        return [tuple(replicates.weights(r)) for r in range(40)]

    assert drawn(40, 0) == drawn(100, 0)
    assert len(set(drawn(40, 0) + drawn(40, 1))) == 80


def test_the_spread_of_replicates_is_that_of_a_mean_of_patients() -> None:
    # with scores of 0 or 1, half positives certain: AUROC is linear in the patients' counts of one kind
    replicates = draw_replicates(np.arange(400), n_replicates=4000)
    values = np.array([replicates.weights(r)[:100].sum() for r in range(4000)])
    assert values.mean() == pytest.approx(100, abs=0.5)
    assert values.std() == pytest.approx(math.sqrt(400 * 0.25 * 0.75), rel=0.05)  # binomial


def test_a_class_seen_in_one_patient_is_undefined_in_about_a_third_of_the_replicates() -> None:
    y, patients = np.zeros(200), np.repeat(np.arange(100), 2)
    y[:2] = 1
    values = bootstrap(y, np.arange(200.0), draw_replicates(patients, n_replicates=2000))
    assert np.isnan(values).mean() == pytest.approx(0.99**100, abs=0.04)
    assert percentile_interval(values[:, 0]) is None
    assert percentile_interval(values[:, 0], max_left_out=0.5) == Interval(0, 0)


def test_an_interval_is_the_quantiles_of_what_is_defined() -> None:
    values = np.append(np.arange(1001) / 1000, [np.nan] * 10)
    assert percentile_interval(values) == pytest.approx((0.025, 0.975))
    assert percentile_interval(values, level=0.5) == pytest.approx((0.25, 0.75))
    assert percentile_interval(values, max_left_out=0.009) is None
    assert str(Interval(0.79, 0.834)) == "0.790–0.834"
    assert str(Interval(-0.1, 0.02)) == "-0.100 to 0.020"


def test_a_bias_corrected_interval_is_moved_by_twice_the_bias_and_holds_its_estimate_or_is_none() -> None:
    values = np.random.default_rng(0).gamma(20, size=1000)
    low, high = percentile_interval(values)  # type: ignore[misc]
    for share in (-0.7, 0.0, 0.3, 0.7):
        bias = share * values.std()
        moved = bias_corrected_interval(values, values.mean() - bias)
        assert moved == pytest.approx((low - 2 * bias, high - 2 * bias))
    for share in (-0.8, 0.8, 5):
        assert bias_corrected_interval(values, values.mean() - share * values.std()) is None
    assert bias_corrected_interval([0.0] * 990 + [1.0] * 10, 0.011) is None  # its percentiles are 0 and 0
    assert bias_corrected_interval(np.ones(5), 1 - 1e-16) == pytest.approx((1, 1))
    assert bias_corrected_interval([np.nan, *values[:9]], values[:9].mean()) is None
    with pytest.raises(AWBError, match="at least one"):
        bias_corrected_interval([], 0)


def test_the_truth_of_the_macro_simulation_is_what_a_huge_study_gives() -> None:
    study = coverage_macro.simulate(np.random.default_rng(0), np.array([0.05]), 60_000)
    for scores, shift in ((study.scores, coverage_macro.SHIFT), (study.others, coverage_macro.OTHER_SHIFT)):
        area = roc_auc_score(study.y_true[:, 0], scores[:, 0])
        assert area == pytest.approx(coverage_macro.true_auroc(shift), abs=0.006)
        precision = average_precision_score(study.y_true[:, 0], scores[:, 0])
        assert precision == pytest.approx(coverage_macro.true_auprc(0.05, shift), abs=0.008)


@pytest.mark.slow
def test_macro_intervals_cover_where_there_is_one() -> None:
    # a smaller benchmarks/coverage_macro.py: the standard error of 80 studies is 2.5 points
    table, _ = coverage_macro.measure(80, 200, seed=1, settings=coverage_macro.SETTINGS[:1])
    covered = {(row["of"], row["interval"]): float(row["covered"].rstrip("%")) for row in table}
    assert covered["AUPRC, macro", "bias-corrected"] > 86
    assert covered["AUROC, macro", "percentile"] > 86
    assert covered["AUPRC, macro", "percentile"] < 83


def test_the_closed_form_of_the_simulation_is_what_a_huge_study_gives() -> None:
    study = simulate(np.random.default_rng(0), 100_000)
    assert roc_auc_score(study.y_true, study.scores) == pytest.approx(TRUE_AUROC, abs=0.005)


@pytest.mark.slow
def test_the_interval_by_patients_covers_and_the_one_by_images_does_not() -> None:
    low, high = np.moveaxis(simulate_intervals(200, studies=400, n_replicates=500, seed=1), -1, 0)
    by_patients, by_images = ((low <= TRUE_AUROC) & (high >= TRUE_AUROC)).mean(axis=0)
    # a smaller benchmarks/coverage.py: the standard error of 400 studies is 1.2 points
    assert 0.91 <= by_patients <= 0.98
    assert by_images < 0.88


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([0, None, 1], "1 images have no group, the first in row 1"),
        ([0, float("nan"), 1], "no group, the first in row 1"),
        (["a", "", "b"], "no group, the first in row 1"),
        ([1, 1, 1], "3 images, all of one group"),
        ([[1, 2, 3]], "expected"),
        (5, "expected"),
    ],
)
def test_groups_that_are_not_known_are_refused(groups: object, message: str) -> None:
    with pytest.raises(AWBError, match=message):
        draw_replicates(groups)  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused() -> None:
    replicates = draw_replicates([0, 1, 2], n_replicates=3)
    with pytest.raises(AWBError, match=r"2 images, but groups .* of 3"):
        bootstrap([0, 1], [0.1, 0.2], replicates)
    with pytest.raises(AWBError, match="no metric 'auroq'; did you mean 'auroc'"):
        bootstrap([0, 1, 1], [0.1, 0.2, 0.3], replicates, metric="auroq")  # type: ignore[arg-type]
    with pytest.raises(AWBError, match="replicate 3; there are 0 to 2"):
        replicates.weights(3)
    with pytest.raises(AWBError, match="n_replicates=0"):
        draw_replicates([0, 1], n_replicates=0)
    with pytest.raises(AWBError, match="seed=-1"):
        draw_replicates([0, 1], seed=-1)
    with pytest.raises(AWBError, match="level=95"):
        percentile_interval([0.5], level=95)
    with pytest.raises(AWBError, match="max_left_out=1"):
        percentile_interval([0.5], max_left_out=1)
    with pytest.raises(AWBError, match="at least one"):
        percentile_interval([])
