"""Maps are measured against boxes as worked out by hand, and no map can win by a trick."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from awb import AWBError
from awb.study import LabelTable
from examples.chestxray14.data.boxes import Box, Boxes
from examples.chestxray14.explanation.cases import box_mask, find_cases
from examples.chestxray14.explanation.localisation import Rules, localise, measure

SIZE = 8
MASK = box_mask([Box("a", "Mass", 2, 1, 4, 3)], SIZE)  # columns 2–5, rows 1–3: 12 of 64 pixels


def measured(saliency: np.ndarray, mask: np.ndarray = MASK, rules: Rules | None = None) -> dict[str, float]:
    rules = rules or Rules()
    return dict(zip(rules.measures, measure(saliency, mask, rules).tolist(), strict=True))


def test_a_mask_holds_the_pixels_whose_centres_are_in_the_box() -> None:
    assert [tuple(index) for index in np.argwhere(MASK)] == [
        (row, column) for row in (1, 2, 3) for column in range(2, 6)
    ]
    # 0.6 to 2.4: only the centre at 1.5; 0.5 to 2.5: those at 0.5 and 1.5, since the far edge is outside
    assert box_mask([Box("a", "Mass", 0.6, 0.5, 1.8, 2)], 4).nonzero() == (pytest.approx([0, 1]), pytest.approx([1, 1]))
    both = box_mask([Box("a", "Mass", 0, 0, 2, 2), Box("a", "Mass", 1, 1, 2, 2)], 4)
    assert both.sum() == 7  # the union counts what they share once
    with pytest.raises(AWBError, match=r"a: the box of Mass, 0.4×3 pixels, holds none of the 8×8 pixels"):
        box_mask([Box("a", "Mass", 1.55, 1, 0.4, 3)], SIZE)


def test_a_map_that_is_the_box_is_perfect() -> None:
    result = measured(MASK * 0.3)
    area = 12 / 64
    for name, value in result.items():
        assert value == {"area": area, "empty": 0}.get(name.partition("@")[0], 1), name


def test_a_map_of_zeros_misses_and_is_no_sharp_map() -> None:
    for name, value in measured(np.zeros((SIZE, SIZE))).items():
        assert value == (1 if name.startswith(("area", "empty")) else 0), name


def test_a_constant_map_gets_what_chance_gets() -> None:
    result = measured(np.full((SIZE, SIZE), 2.0))
    share = 12 / 64
    assert result == {name: 1 if "area" in name else 0 if name == "empty" else share for name in result}


def test_a_map_worked_out_by_hand() -> None:
    saliency = np.zeros((SIZE, SIZE))
    saliency[1, 2:6] = 4, 2, 1, 1  # in the box: sum 8
    saliency[6, 0:4] = 3, 2, 2, 1  # outside: sum 8
    assert measured(saliency) == pytest.approx(
        {
            "pointing": 1, "energy": 8 / 16, "empty": 0,
            "IoU@0.25": 4 / 16, "IoU@0.5": 2 / 15, "IoU@0.75": 1 / 13,  # regions of 8, 5 and 2 pixels
            "IoBB@0.25": 4 / 8, "IoBB@0.5": 2 / 5, "IoBB@0.75": 1 / 2,
            "area@0.25": 8 / 64, "area@0.5": 5 / 64, "area@0.75": 2 / 64,
        }
    )  # fmt: skip


def test_tied_maxima_count_by_the_share_of_them_that_hit() -> None:
    saliency = np.zeros((SIZE, SIZE))
    saliency[[1, 7, 7, 7], [2, 0, 1, 2]] = 5
    assert measured(saliency)["pointing"] == 1 / 4


@pytest.mark.parametrize(
    ("row", "column", "distance"), [(0, 2, 1), (6, 3, 3), (5, 7, np.hypot(2, 2)), (0, 0, np.hypot(1, 2))]
)
def test_a_maximum_hits_within_the_tolerance_and_no_farther(row: int, column: int, distance: float) -> None:
    saliency = np.zeros((SIZE, SIZE))
    saliency[row, column] = 1
    for tolerance, hit in ((distance - 0.01, 0), (distance + 0.01, 1)):
        assert measured(saliency, rules=Rules(tolerance=tolerance / SIZE))["pointing"] == hit
    assert measured(saliency)["pointing"] == 0


positive = arrays(np.float64, (SIZE, SIZE), elements=st.floats(0, 1, width=16))
some = arrays(np.bool_, (SIZE, SIZE)).filter(np.any)


@given(positive, some, st.sampled_from([2.0**-990, 2.0**-20, 2.0**1000]))
def test_measures_are_shares_and_do_not_know_the_maps_scale(
    saliency: np.ndarray, mask: np.ndarray, scale: float
) -> None:
    rules = Rules(tolerance=0.1)
    plain = measure(saliency, mask, rules)
    assert plain.min() >= 0
    assert plain.max() <= 1 + 1e-12
    np.testing.assert_array_equal(measure(saliency * scale, mask, rules), plain)


@given(positive, some)
def test_the_box_and_the_rest_share_the_energy_and_the_maximum(saliency: np.ndarray, mask: np.ndarray) -> None:
    if saliency.any() and not mask.all():
        inside, outside = measured(saliency, mask), measured(saliency, ~mask)
        assert inside["energy"] + outside["energy"] == pytest.approx(1)
        assert inside["pointing"] + outside["pointing"] == pytest.approx(1)
        assert inside["IoBB@0.5"] + outside["IoBB@0.5"] == pytest.approx(1)


@given(positive, some)
def test_iou_agrees_with_scikit_learns_jaccard_index(saliency: np.ndarray, mask: np.ndarray) -> None:
    from sklearn.metrics import jaccard_score, precision_score

    if saliency.any():
        region = (saliency / saliency.max() >= 0.5).ravel()
        result = measured(saliency, mask)
        assert result["IoU@0.5"] == pytest.approx(jaccard_score(mask.ravel(), region))
        assert result["IoBB@0.5"] == pytest.approx(precision_score(mask.ravel(), region))


@pytest.mark.parametrize(
    ("saliency", "mask", "words"),
    [
        (np.full((SIZE, SIZE), np.nan), MASK, "NaN or infinite"),
        (np.full((SIZE, SIZE), -1.0), MASK, "expected no negative values"),
        (np.zeros((4, 4)), MASK, r"a map of \(4, 4\) and a mask of \(8, 8\)"),
        (np.ones((SIZE, SIZE)), np.zeros_like(MASK), "the mask is empty"),
    ],
)
def test_what_cannot_be_measured_is_refused(saliency: np.ndarray, mask: np.ndarray, words: str) -> None:
    with pytest.raises(AWBError, match=words):
        measure(saliency, mask)


@pytest.mark.parametrize(
    "wrong", [{"tolerance": -0.1}, {"tolerance": 1}, {"cuts": ()}, {"cuts": (0.0,)}, {"cuts": (50,)}]
)
def test_rules_that_are_none_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(AWBError, match="expected"):
        Rules(**wrong)


def labels(images: list[str], groups: list[str] | None) -> LabelTable:
    patients = None if groups is None else np.array(groups)
    return LabelTable(np.array(images), ("Mass", "Nodule"), np.ones((len(images), 2)), patients)


def test_a_case_is_a_finding_of_an_image_with_all_its_boxes() -> None:
    boxes = Boxes(
        SIZE,
        tuple(
            Box(i, f, x, 0, 1, 1)
            for i, f, x in [("a", "Mass", 0), ("a", "Nodule", 1), ("a", "Mass", 2), ("c", "Mass", 3)]
        ),
    )
    cases = find_cases(boxes, labels(["b", "a"], ["2", "1"]))
    assert [(case.image, case.finding, case.patient, len(case.boxes)) for case in cases] == [
        ("a", "Mass", "1", 2),
        ("a", "Nodule", "1", 1),
    ]
    with pytest.raises(AWBError, match="none of the 4 boxes is on any of the table's 1 images"):
        find_cases(boxes, labels(["b"], ["2"]))
    with pytest.raises(AWBError, match="no patients"):
        find_cases(boxes, labels(["a"], None))
    with pytest.raises(AWBError, match="boxes of Hernia, which the table does not have"):
        find_cases(Boxes(SIZE, (Box("a", "Hernia", 0, 0, 1, 1),)), labels(["a"], ["1"]))


def test_many_maps_are_measured_each_against_its_own_box() -> None:
    boxes = Boxes(SIZE, (Box("a", "Mass", 0, 0, 2, 2), Box("b", "Mass", 4, 4, 2, 2)))
    cases = find_cases(boxes, labels(["a", "b"], ["1", "2"]))
    saliency = box_mask(cases[0].boxes, SIZE).astype(float)
    result = localise(cases, [saliency, saliency], SIZE)
    assert result.values[:, 0].tolist() == [1, 0]
    with pytest.raises(AWBError, match="b, Mass: the map goes down to -1"):
        localise(cases, [saliency, -saliency], SIZE)
    for wrong in ([saliency], [saliency] * 3):
        with pytest.raises(AWBError, match="for 2 cases; expected one per case"):
            localise(cases, wrong, SIZE)
