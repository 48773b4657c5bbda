"""Synthetic labels and scores in the shape of NIH ChestX-ray14's official test set: no image, no medical meaning.

Counts of `test_list.txt` and `Data_Entry_2017_v2020.csv`: 25,596 images of 2,797 patients, 49 % of whom have one image
and one 184; positives per finding as in the file; findings cluster in patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

N_PATIENTS = 2797
N_IMAGES = 25_596
POSITIVES = {
    "Atelectasis": 3279, "Cardiomegaly": 1069, "Consolidation": 1815, "Edema": 925, "Effusion": 4658,
    "Emphysema": 1093, "Fibrosis": 435, "Hernia": 86, "Infiltration": 6112, "Mass": 1748, "Nodule": 1623,
    "Pleural_Thickening": 1143, "Pneumonia": 555, "Pneumothorax": 2665,
}  # fmt: skip

# images per patient: quantiles of NIH's file
_SHARES = (0, 0.49, 0.58, 0.68, 0.75, 0.82, 0.9, 0.95, 0.98, 0.99, 1)
_IMAGES = (1, 1, 2, 6, 9, 15, 26, 42, 66, 81, 184)


@dataclass(frozen=True)
class Study:
    """Labels (n, 14) of 0 and 1, scores (n, 14), and the patient of each image (n,)."""

    y_true: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    patients: npt.NDArray[np.intp]
    classes: tuple[str, ...] = tuple(POSITIVES)


def nih_like(seed: int = 0) -> Study:
    """Simulate labels and scores that cluster in patients; scores have about 7,000 distinct values, hence ties."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(N_PATIENTS), _images_per_patient())
    n, c = len(patients), len(POSITIVES)

    def clustered(patient_share: float) -> npt.NDArray[np.float64]:
        of_patient, of_image = rng.normal(size=(N_PATIENTS, c))[patients], rng.normal(size=(n, c))
        return np.sqrt(patient_share) * of_patient + np.sqrt(1 - patient_share) * of_image

    liability = clustered(0.6)
    y_true = np.zeros((n, c))
    for column, positives in enumerate(POSITIVES.values()):
        y_true[np.argsort(-liability[:, column])[:positives], column] = 1
    return Study(y_true, np.round(1600 * (y_true + clustered(0.3))), patients)


def _images_per_patient() -> npt.NDArray[np.intp]:
    sizes = np.round(np.interp(np.linspace(0, 1, N_PATIENTS), _SHARES, _IMAGES)).astype(np.intp)
    too_many = (
        sizes.sum() - N_IMAGES
    )  # quantiles between the file's are a little off: one fewer for the largest but one
    sizes[np.argsort(-sizes, kind="stable")[1 : 1 + too_many]] -= 1
    assert sizes.sum() == N_IMAGES
    return sizes
