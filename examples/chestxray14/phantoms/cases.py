"""Patients of phantoms, their images, and the findings of each, in NIH's proportions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from examples.chestxray14.data.origin import PREFIX
from examples.chestxray14.phantoms.nih_counts import nih_counts

ABNORMAL_SHARE = 0.46  # share of NIH's images with a finding
# so that a few hundred images include each finding: a combination counts this many times (the largest factor of its
# findings) among the images with a finding; their share remains NIH's
BOOST = {"Hernia": 20, "Pneumonia": 4, "Fibrosis": 3, "Edema": 2, "Emphysema": 2}
# shares of NIH's patients with 1, 2, … images; the last is for 8 or more, where a phantom patient has 8
IMAGES_PER_PATIENT = (0.568, 0.134, 0.068, 0.043, 0.03, 0.026, 0.02, 0.111)
# makes two consecutive images of a patient have the same findings as often as NIH's (41 %), chance included
REPEAT = 0.155
MALE_SHARE = 0.565
AGE_DECILES = (1, 23, 31, 38, 44, 49, 53, 57, 61, 67, 95)


@dataclass(frozen=True)
class Case:
    """One image: its patient, its follow-up number, and its findings.

    Attributes:
        patient: Number of the patient, from 1.
        follow_up: Number of the image within the patient, from 0.
        findings: Findings in the order of `FINDINGS`; a normal image has none.
        episode: Follow-up number at which these findings first appeared; it determines their places and shapes.
        view: PA or AP.
        sex: M or F.
        age: Age in years.
    """

    patient: int
    follow_up: int
    findings: tuple[str, ...]
    episode: int
    view: str
    sex: str
    age: int

    @property
    def image(self) -> str:
        return f"{PREFIX}{self.patient:06}_{self.follow_up:03}.png"


def draw_cases(n_patients: int, seed: int) -> list[Case]:
    """Draw the images of some patients; a patient does not depend on their number."""
    return [case for patient in range(1, n_patients + 1) for case in _draw_patient(patient, seed)]


def _draw_patient(patient: int, seed: int) -> list[Case]:
    rng = np.random.default_rng([seed, patient, 0])
    sex = "M" if rng.random() < MALE_SHARE else "F"
    age = round(np.interp(rng.random(), np.linspace(0, 1, len(AGE_DECILES)), AGE_DECILES))
    n_images = 1 + rng.choice(len(IMAGES_PER_PATIENT), p=IMAGES_PER_PATIENT)
    combinations, weights = nih_counts(), _weights()
    cases: list[Case] = []
    for follow_up in range(n_images):
        if not cases or rng.random() >= REPEAT:
            drawn, episode = combinations[rng.choice(len(weights), p=weights)], follow_up
        view = "AP" if rng.random() < drawn.images_ap / drawn.images else "PA"
        cases.append(Case(patient, follow_up, drawn.findings, episode, view, sex, age))
    return cases


@cache
def _weights() -> np.ndarray:
    """Probability of each combination of findings."""
    combinations = nih_counts()
    weights = np.array([c.images * max((BOOST.get(f, 1) for f in c.findings), default=1) for c in combinations], float)
    abnormal = np.array([bool(c.findings) for c in combinations])
    for rows, share in ((abnormal, ABNORMAL_SHARE), (~abnormal, 1 - ABNORMAL_SHARE)):
        weights[rows] *= share / weights[rows].sum()
    return weights
