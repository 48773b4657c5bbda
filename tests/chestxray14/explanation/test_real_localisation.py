"""NIH's own boxes and images: the baselines' figures are plausible, and boxes follow the images' size."""

from __future__ import annotations

import numpy as np
import pytest

from awb.study import LabelTable
from examples.chestxray14.data.boxes import read_boxes
from examples.chestxray14.data.nih import read_data_entry
from examples.chestxray14.explanation.baselines import box_prior_maps, centre_maps, random_maps
from examples.chestxray14.explanation.cases import box_mask, find_cases
from examples.chestxray14.explanation.localisation import Localisation, localise
from tests.chestxray14.real import NIH, needs_nih

pytestmark = needs_nih
SIZE = 64


def baselines(table: LabelTable, size: int = SIZE) -> dict[str, Localisation]:
    cases = find_cases(read_boxes(NIH / "BBox_List_2017.csv.gz").scaled_to(size), table)
    made = {
        "centre": centre_maps(cases, size),
        "random": random_maps(cases, size, grid=7),
        "boxes": box_prior_maps(cases, size),
    }
    return {name: localise(cases, maps, size) for name, maps in made.items()}


def of(result: Localisation, measure: str) -> float:
    return float(result.values[:, result.measures.index(measure)].mean())


@pytest.fixture(scope="module")
def table() -> LabelTable:
    return read_data_entry(NIH / "images" / "labels.csv")


def test_the_images_at_hand_have_96_boxes_of_81_patients(table: LabelTable) -> None:
    cases = find_cases(read_boxes(NIH / "BBox_List_2017.csv.gz"), table)
    assert sum(len(case.boxes) for case in cases) == 96
    assert len({case.image for case in cases}) == len({case.patient for case in cases}) == 81


@pytest.mark.slow
def test_all_of_nihs_boxes_are_found_with_their_patients(nih: LabelTable) -> None:
    cases = find_cases(read_boxes(NIH / "BBox_List_2017.csv.gz"), nih)
    assert sum(len(case.boxes) for case in cases) == 984
    assert len({case.image for case in cases}) == 880
    number = {case.image: str(int(case.image.split("_")[0])) for case in cases}  # NIH names images by patient
    assert all(case.patient == number[case.image] for case in cases)


@pytest.mark.slow
def test_random_maps_get_the_boxes_share_of_the_image_and_others_boxes_get_more(nih: LabelTable) -> None:
    results = baselines(nih)
    shares = np.mean([box_mask(case.boxes, SIZE).mean() for case in results["random"].cases])
    assert of(results["random"], "energy") == pytest.approx(shares, abs=0.01)
    # where a finding lies in other patients says more than chance; this also fails if boxes were mis-scaled or flipped
    assert of(results["boxes"], "energy") > 2 * shares
    assert of(results["boxes"], "pointing") > of(results["centre"], "pointing")


def test_measures_hardly_depend_on_the_size_that_boxes_are_scaled_to(table: LabelTable) -> None:
    small, large = (baselines(table, size)["centre"].values for size in (64, 256))
    np.testing.assert_allclose(small[:, 1], large[:, 1], atol=0.02)  # energy
