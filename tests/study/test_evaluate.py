"""The table of a study: rows, intervals, what is not defined, and subgroups."""

import json

import numpy as np
import pytest

from awb import AWBError
from awb.study import (
    auprc,
    auroc,
    bands,
    bias_corrected_interval,
    bootstrap,
    draw_replicates,
    evaluate,
    evaluate_subgroups,
    percentile_interval,
)

RNG = np.random.default_rng(0)
PATIENTS = np.repeat(np.arange(80), 3)
Y = (RNG.random((240, 3)) < [0.4, 0.2, 0.1]).astype(float)
SCORES = Y + RNG.normal(size=Y.shape)
Y[RNG.random(Y.shape) < 0.1] = np.nan
CLASSES = ["Mass", "Edema", "Hernia"]


def test_every_class_and_the_macro_mean_have_their_numbers() -> None:
    *rows, macro = evaluate(Y, SCORES, PATIENTS, classes=CLASSES, n_replicates=300, seed=5)
    replicates = draw_replicates(PATIENTS, n_replicates=300, seed=5)
    for name, values in (("AUROC", auroc(Y, SCORES)), ("AUPRC", auprc(Y, SCORES))):
        sampled = bootstrap(Y, SCORES, replicates, metric=name.lower())  # type: ignore[arg-type]
        assert [row[name] for row in rows] == list(values)
        assert macro[name] == pytest.approx(values.mean(), abs=1e-15)
        assert [row[f"{name} 95 %"] for row in rows] == [percentile_interval(column) for column in sampled.T]
        mean = sampled.mean(axis=1)
        expected = percentile_interval(mean) if name == "AUROC" else bias_corrected_interval(mean, macro[name])
        assert macro[f"{name} 95 %"] == expected
    for c, row in enumerate(rows):
        known = ~np.isnan(Y[:, c])
        positive = Y[:, c] == 1
        assert row["class"] == CLASSES[c]
        assert (row["n"], row["positives"]) == (known.sum(), positive.sum())
        assert row["positive groups"] == len(set(PATIENTS[positive]))
        assert row["prevalence"] == pytest.approx(positive.sum() / known.sum())
        assert row["left out"] == 0
    assert (macro["class"], macro["n"]) == ("macro (3)", 240)


def test_a_macro_auprc_of_one_class_has_that_classs_interval() -> None:
    row, macro = evaluate(Y[:, 0], SCORES[:, 0], PATIENTS, n_replicates=100)
    assert macro["AUPRC 95 %"] == row["AUPRC 95 %"]
    perfect = np.column_stack([Y[:, :2] == 1, Y[:, :2] == 1])
    assert list(evaluate(perfect, perfect, PATIENTS, n_replicates=100))[-1]["AUPRC 95 %"] == (1, 1)


def test_many_rare_classes_have_no_interval_of_their_macro_auprc_and_it_is_said_why() -> None:
    rng = np.random.default_rng(1)
    y = (rng.random((1000, 40)) < 0.02).astype(float)
    table = evaluate(y, rng.normal(size=y.shape) + y, range(1000), n_replicates=200)
    *rows, macro = table
    assert macro["AUPRC 95 %"] is None
    assert table.notes[1:] == (
        "no interval of AUPRC, since its replicates lie too far to one side of the value for any to hold: macro",
    )
    for row in rows:
        assert row["AUPRC 95 %"].low <= row["AUPRC"] <= row["AUPRC 95 %"].high
    assert macro["AUROC 95 %"].low <= macro["AUROC"] <= macro["AUROC 95 %"].high


def test_the_macro_interval_is_narrower_than_the_classes_are() -> None:
    *rows, macro = evaluate(Y, SCORES, PATIENTS, n_replicates=300)
    widths = [row["AUROC 95 %"].high - row["AUROC 95 %"].low for row in (*rows, macro)]
    assert widths[-1] < max(widths[:-1])


def test_a_class_with_one_label_is_an_error_or_a_dash_and_never_a_half() -> None:
    y = Y.copy()
    y[y[:, 2] == 1, 2] = 0
    with pytest.raises(AWBError, match=r"Hernia \(no positive\)"):
        evaluate(y, SCORES, PATIENTS, classes=CLASSES)
    table = evaluate(y, SCORES, PATIENTS, classes=CLASSES, undefined="skip", n_replicates=50)
    mass, edema, hernia, macro = table
    assert hernia["AUROC"] is hernia["AUPRC"] is hernia["AUROC 95 %"] is hernia["left out"] is None
    assert hernia["positives"] == 0
    assert macro["class"] == "macro (2 of 3)"
    assert macro["AUROC"] == pytest.approx((mass["AUROC"] + edema["AUROC"]) / 2, abs=1e-15)
    assert any("Hernia (no positive)" in note for note in table.notes)
    assert "–" in table.to_markdown()


def test_too_many_empty_replicates_refuse_an_interval_and_say_so() -> None:
    y = Y.copy()
    y[y[:, 2] == 1, 2] = 0
    y[:2, 2] = 1  # of one patient
    table = evaluate(y, SCORES, PATIENTS, classes=CLASSES, n_replicates=300)
    *_, hernia, macro = table
    assert hernia["AUROC"] is not None
    assert hernia["AUROC 95 %"] is None
    assert macro["AUROC 95 %"] is None  # a mean that lacks a class is no mean of three
    assert hernia["left out"] == macro["left out"] == pytest.approx(300 * (79 / 80) ** 80, abs=35)
    assert any("one label only: Hernia, macro" in note for note in table.notes)
    allowed = list(evaluate(y, SCORES, PATIENTS, n_replicates=300, max_left_out=0.6))
    assert allowed[2]["AUROC 95 %"] is not None


def test_the_level_is_in_the_header_and_the_table_goes_into_json() -> None:
    table = evaluate(Y, SCORES, PATIENTS, n_replicates=50, level=0.9)
    assert "AUROC 90 %" in table.headers
    low, high = json.loads(json.dumps(list(table)))[0]["AUROC 90 %"]
    assert low < high
    with pytest.raises(AWBError, match="level=95"):
        evaluate(Y, SCORES, PATIENTS, level=95)


def test_groups_must_be_one_an_image() -> None:
    with pytest.raises(AWBError, match=r"240 images, but groups .* of 239"):
        evaluate(Y, SCORES, PATIENTS[1:])


def test_a_subgroup_has_the_row_of_its_own_images() -> None:
    view = np.where(np.arange(240) % 3 == 0, "PA", "AP")
    table = evaluate_subgroups(Y, SCORES, PATIENTS, view, classes=CLASSES, n_replicates=50)
    for name in ("AP", "PA"):
        inside = view == name
        alone = evaluate(Y[inside], SCORES[inside], PATIENTS[inside], classes=CLASSES, n_replicates=50)
        assert [{k: v for k, v in row.items() if k != "subgroup"} for row in table if row["subgroup"] == name] == list(
            alone
        )
    assert [row["subgroup"] for row in table] == ["AP"] * 4 + ["PA"] * 4


def test_a_subgroup_that_cannot_be_evaluated_is_named() -> None:
    sex = np.array(["F"] * 239 + ["M"])
    with pytest.raises(AWBError, match=r"subgroup 'M': .*one label only"):
        evaluate_subgroups(Y, SCORES, PATIENTS, sex)
    with pytest.raises(AWBError, match="no subgroup, the first in row 0"):
        evaluate_subgroups(Y, SCORES, PATIENTS, ["", *sex[1:]])
    with pytest.raises(AWBError, match="subgroups have shape"):
        evaluate_subgroups(Y, SCORES, PATIENTS, sex[1:])


def test_bands_are_closed_below_and_sorted_by_number() -> None:
    ages = [0, 4.9, 5, 17, 18, 99, 100, 101]
    expected = ["0–<5", "0–<5", "5–<18", "5–<18", "18–<100", "18–<100", "≥100", "≥100"]
    assert list(bands(ages, [0, 5, 18, 100])) == expected
    rng = np.random.default_rng(0)
    y, age = np.arange(400) % 2, rng.integers(0, 120, 400)
    table = evaluate_subgroups(y, rng.random(400), range(400), bands(age, [0, 5, 18, 100]), n_replicates=10)
    assert list(dict.fromkeys(row["subgroup"] for row in table)) == ["0–<5", "5–<18", "18–<100", "≥100"]


def test_numbers_without_a_band_are_refused() -> None:
    with pytest.raises(AWBError, match="row 1: nan is in no band"):
        bands([3, np.nan], [0, 18])
    with pytest.raises(AWBError, match="row 0: -3 is in no band; the first starts at 0"):
        bands([-3], [0, 18])
    with pytest.raises(AWBError, match="increasing"):
        bands([3], [18, 0])
    with pytest.raises(AWBError, match="cannot be put into bands"):
        bands(["old"], [0, 18])
