"""The tables hold plain means, intervals of patients, and paired differences."""

from __future__ import annotations

import numpy as np
import pytest

from awb import AWBError
from awb.study import draw_replicates
from examples.chestxray14.data.boxes import Box
from examples.chestxray14.explanation.baselines import box_prior_maps, centre_maps, random_maps
from examples.chestxray14.explanation.cases import Case, box_mask
from examples.chestxray14.explanation.localisation import Localisation, localise
from examples.chestxray14.explanation.localisation_tables import by_finding, by_method, compare_methods

SIZE = 16


def case(patient: int, finding: str, image: int = 0, x: float = 2) -> Case:
    name = f"{patient}_{image}"
    return Case(name, finding, str(patient), (Box(name, finding, x, x, 4, 4),))


CASES = tuple(
    case(patient, finding, image)
    for patient in range(30)
    for finding in ("Mass", "Nodule")[: 1 + patient % 2]
    for image in range(1 + patient % 3)
)


def result(values: np.ndarray, cases: tuple[Case, ...] = CASES) -> Localisation:
    return Localisation(cases, ("pointing", "area@0.5", "empty"), np.column_stack([values, values / 2, values * 0]))


def random_result(seed: int, cases: tuple[Case, ...] = CASES) -> Localisation:
    return result(np.random.default_rng(seed).random(len(cases)), cases)


def test_means_are_of_cases_within_a_finding_and_of_findings_in_the_macro_row() -> None:
    one = random_result(0)
    rows = {row["finding"]: row for row in by_finding(one, ["pointing"])}
    means = {}
    for finding in ("Mass", "Nodule"):
        own = [value for c, (value, *_) in zip(CASES, one.values, strict=True) if c.finding == finding]
        means[finding] = np.mean(own)
        assert rows[finding]["pointing"] == pytest.approx(means[finding])
        assert rows[finding]["cases"] == len(own)
    assert rows["Mass"]["patients"] == 30
    assert rows["Nodule"]["patients"] == 15
    assert rows["macro (2)"]["pointing"] == pytest.approx(np.mean(list(means.values())))
    assert rows["all cases"]["pointing"] == pytest.approx(one.values[:, 0].mean())
    for over, row in (("findings", "macro (2)"), ("cases", "all cases")):
        (of_method,) = by_method({"A": one}, ["pointing"], over=over)
        assert of_method["pointing"] == pytest.approx(rows[row]["pointing"])
        assert of_method["pointing 95 %"] == rows[row]["pointing 95 %"]


def test_an_interval_is_of_means_weighted_by_how_often_a_patient_was_drawn() -> None:
    one = random_result(1)
    rows = {row["finding"]: row for row in by_finding(one, ["pointing"], n_replicates=200, seed=3)}
    replicates = draw_replicates([c.patient for c in CASES], n_replicates=200, seed=3)
    nodule = np.array([c.finding == "Nodule" for c in CASES])
    means = [np.average(one.values[nodule, 0], weights=replicates.weights(r)[nodule]) for r in range(200)]
    assert tuple(rows["Nodule"]["pointing 95 %"]) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_images_of_one_patient_are_not_taken_for_independent() -> None:
    alike = np.repeat(np.random.default_rng(0).random(40), 5)
    patients = tuple(case(patient, "Mass", image) for patient in range(40) for image in range(5))
    alone = tuple(case(i, "Mass") for i in range(200))
    widths = []
    for cases in (patients, alone):
        (row,) = by_method({"A": result(alike, cases)}, ["pointing"])
        widths.append(row["pointing 95 %"].high - row["pointing 95 %"].low)
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(5), rel=0.2)


def test_a_finding_of_too_few_patients_has_no_interval_and_neither_has_the_macro_row() -> None:
    cases = (*(case(patient, "Mass") for patient in range(20)), case(20, "Hernia"))
    rows = {row["finding"]: row for row in by_finding(random_result(0, cases), ["pointing"])}
    assert rows["Hernia"]["pointing 95 %"] is None
    assert rows["macro (2)"]["pointing 95 %"] is None
    assert rows["Mass"]["pointing 95 %"] is not None
    assert rows["all cases"]["pointing 95 %"] is not None


def test_a_difference_is_paired() -> None:
    one = random_result(0)
    better = Localisation(one.cases, one.measures, one.values + np.array([0.25, -0.125, 0]))
    rows = list(compare_methods({"one": one, "better": better}, "one", ["pointing", "area@0.5"]))
    assert [row["maps"] for row in rows] == ["better", "better"]
    for row, difference in zip(rows, (0.25, -0.125), strict=True):
        assert row["difference from one"] == pytest.approx(difference)
        # the same on every replicate, since both meet the same patients
        assert tuple(row["95 %"]) == pytest.approx((difference, difference))
        assert row["p"] == pytest.approx(2 / 2001)
    (same,) = compare_methods({"one": one, "again": random_result(0)}, "one", ["pointing"])
    assert (same["difference from one"], same["p"]) == (0, 1)


def test_what_cannot_be_tabulated_is_refused() -> None:
    one = random_result(0)
    with pytest.raises(AWBError, match="no measure 'pointng'; did you mean 'pointing'"):
        by_finding(one, ["pointng"])
    with pytest.raises(AWBError, match="the results are of different cases"):
        by_method({"A": one, "B": random_result(0, CASES[:-1])})
    with pytest.raises(AWBError, match="no result 'plane'; did you mean 'plain'"):
        compare_methods({"plain": one}, "plane")
    with pytest.raises(AWBError, match="no results"):
        by_method({})
    with pytest.raises(AWBError, match="expected 'findings' or 'cases'"):
        by_method({"A": one}, ["pointing"], over="images")  # type: ignore[arg-type]


def test_the_centre_prior_points_at_the_middle_and_hits_only_what_is_there() -> None:
    (prior,) = centre_maps([CASES[0]], SIZE)
    assert np.argwhere(prior == prior.max()).tolist() == [[7, 7], [7, 8], [8, 7], [8, 8]]
    assert (prior > 0.5 * prior.max()).mean() == pytest.approx(2 * np.log(2) * np.pi * 0.25**2, rel=0.1)
    cases = (case(1, "Mass", x=6), case(2, "Mass", x=2), case(3, "Mass", x=4))  # around it, clear of it, a quarter
    assert localise(cases, centre_maps(cases, SIZE), SIZE).values[:, 0].tolist() == [1, 0, 0.25]


def test_random_maps_hit_as_often_as_the_box_is_large() -> None:
    cases = tuple(case(patient, "Mass", x=patient % 4 * 4) for patient in range(1600))
    values = localise(cases, random_maps(cases, SIZE, grid=SIZE), SIZE).values
    assert values[:, 0].mean() == pytest.approx(1 / 16, abs=0.02)
    assert values[:, 1].mean() == pytest.approx(1 / 16, abs=0.002)
    few = list(random_maps(cases[:3], SIZE, grid=4, seed=1))
    assert not np.array_equal(few[0], few[1])
    np.testing.assert_array_equal(few[1], list(random_maps(cases[:2], SIZE, grid=4, seed=1))[1])


def test_the_box_prior_is_the_mean_of_other_patients_boxes() -> None:
    cases = (
        case(1, "Mass", 0, x=2),
        case(1, "Mass", 1, x=3),
        case(2, "Mass", x=8),
        case(3, "Mass", x=9),
        case(4, "Hernia"),
    )
    maps = list(box_prior_maps(cases, SIZE))
    others = box_mask(cases[2].boxes, SIZE).astype(float) + box_mask(cases[3].boxes, SIZE)
    np.testing.assert_array_equal(maps[0], others)
    np.testing.assert_array_equal(maps[1], others)
    assert maps[4].max() == 0  # nobody else has one
