"""Phantoms: labels and boxes at once, each image on request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from awb.study import LabelTable
from examples.chestxray14.data.boxes import ORIGINAL_SIZE, Box, Boxes
from examples.chestxray14.data.nih import FINDINGS
from examples.chestxray14.phantoms.anatomy import Anatomy, Exposure, draw_anatomy, draw_exposure
from examples.chestxray14.phantoms.body import draw_body
from examples.chestxray14.phantoms.cases import Case, draw_cases
from examples.chestxray14.phantoms.scene import Scene, patient_to_pixels
from examples.chestxray14.phantoms.signs import Sign, change_anatomy, is_localised, paint_signs, place_sign


@dataclass(frozen=True)
class Phantoms:
    """Synthetic chest images, each a function of (seed, patient, follow-up) alone.

    Attributes:
        seed: Seed of all images.
        cases: One case per image, in the order of the patients.
    """

    seed: int
    cases: tuple[Case, ...]

    def __len__(self) -> int:
        return len(self.cases)

    @cached_property
    def table(self) -> LabelTable:
        """Labels, as `read_data_entry` reads them."""
        return LabelTable(
            np.array([case.image for case in self.cases]),
            FINDINGS,
            np.array([[finding in case.findings for finding in FINDINGS] for case in self.cases], dtype=np.float64),
            np.array([str(case.patient) for case in self.cases]),
            {
                "view": np.array([case.view for case in self.cases]),
                "sex": np.array([case.sex for case in self.cases]),
                "age": np.array([str(case.age) for case in self.cases]),
                "follow_up": np.array([str(case.follow_up) for case in self.cases]),
            },
        )

    @cached_property
    def boxes(self) -> Boxes:
        """Boxes around all localised findings, in pixels of 1024×1024 images, as NIH's."""
        return Boxes(ORIGINAL_SIZE, tuple(box for case in self.cases for box in _boxes(case, self.seed)))

    def render(self, row: int, size: int = 256) -> npt.NDArray[np.uint8]:
        """Draw the image of a row, uint8 (size, size)."""
        return render_case(self.cases[row], self.seed, size)


def draw_phantoms(n_patients: int, seed: int = 0) -> Phantoms:
    """Draw phantoms of some patients, one to eight images each; a patient does not depend on their number."""
    return Phantoms(seed, tuple(draw_cases(n_patients, seed)))


def render_case(case: Case, seed: int, size: int) -> npt.NDArray[np.uint8]:
    """Draw one image, uint8 (size, size)."""
    anatomy, exposure, signs = _plan(case, seed)
    scene = Scene(change_anatomy(anatomy, signs), exposure, size)
    paint_signs(scene, signs)
    return draw_body(scene)


def _plan(case: Case, seed: int) -> tuple[Anatomy, Exposure, list[Sign]]:
    anatomy = draw_anatomy(np.random.default_rng([seed, case.patient, 1]), case.sex, case.age)
    visit = np.random.default_rng([seed, case.patient, 2, case.follow_up])
    exposure = draw_exposure(visit, case.view)
    signs = []
    for number, finding in enumerate(FINDINGS):
        if finding in case.findings:
            rng = np.random.default_rng([seed, case.patient, 3, case.episode, number])
            signs.append(place_sign(finding, anatomy, rng, visit))
    return anatomy, exposure, signs


def _boxes(case: Case, seed: int) -> list[Box]:
    _, exposure, signs = _plan(case, seed)
    return [_box(case.image, sign, exposure) for sign in signs if is_localised(sign.finding)]


def _box(image: str, sign: Sign, exposure: Exposure) -> Box:
    corners = np.array([(sx, sy) for sx in (-1, 1) for sy in (-1, 1)])
    x, y = patient_to_pixels(
        exposure, ORIGINAL_SIZE, sign.x + sign.rx * corners[:, 0], sign.y + sign.ry * corners[:, 1]
    )
    left, right = np.clip([x.min(), x.max()], 0, ORIGINAL_SIZE)
    top, bottom = np.clip([y.min(), y.max()], 0, ORIGINAL_SIZE)
    return Box(image, sign.finding, float(left), float(top), float(right - left), float(bottom - top))
