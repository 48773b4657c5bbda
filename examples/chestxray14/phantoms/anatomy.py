"""Body of a phantom patient, and exposure of an image, as plain numbers.

Positions are in the patient's coordinates: x and y from -1 to 1 across the image, y downwards, the patient's right lung
at x < 0 as on a chest film.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Anatomy:
    """Body that all images of a patient share.

    Attributes:
        lung_x: Distance between a lung's centre and the midline.
        lung_width: Half width of a lung at its middle height.
        lung_top: Height of the apices.
        lung_base: Height of the diaphragm's domes; the right one (x < 0) is `dome_gap` higher.
        dome: Height of a dome above its lateral end.
        heart: Half width and half height of the heart.
        heart_x, heart_y: Centre of the heart.
        ribs: Distance between two ribs, and slope of the ribs.
        bone: Brightness of ribs, clavicles and spine.
        breast: Brightness of breast shadows, 0 if none.
        body: Half width of the chest.
        air: Darkness of the lungs.
        seed: Seed of vessels and texture.
    """

    lung_x: float
    lung_width: float
    lung_top: float
    lung_base: float
    dome_gap: float
    dome: float
    heart: tuple[float, float]
    heart_x: float
    heart_y: float
    ribs: tuple[float, float]
    bone: float
    breast: float
    body: float
    air: float
    seed: int


@dataclass(frozen=True)
class Exposure:
    """Settings that differ between images of one patient.

    Attributes:
        angle: Rotation in radians.
        scale: Magnification of the patient, about 1.
        shift: Offset of the patient's midpoint, in units of half an image.
        contrast, brightness: Contrast and brightness of the whole film.
        noise: Standard deviation of the grain, for grey levels from 0 to 1.
        lines: True if leads of electrodes lie on the chest, as on many bedridden patients.
        seed: Seed of the grain.
    """

    angle: float
    scale: float
    shift: tuple[float, float]
    contrast: float
    brightness: float
    noise: float
    lines: bool
    seed: int


def draw_anatomy(rng: np.random.Generator, sex: str, age: int) -> Anatomy:
    """Draw a body; a child's is smaller."""
    size = 0.82 + 0.18 * min(age, 16) / 16
    return Anatomy(
        lung_x=size * rng.normal(0.435, 0.012),
        lung_width=size * rng.normal(0.335, 0.016),
        lung_top=-0.78 + (1 - size) + rng.normal(0, 0.025),
        lung_base=size * rng.normal(0.5, 0.045),
        dome_gap=rng.uniform(0.02, 0.07),
        dome=rng.uniform(0.14, 0.22),
        heart=(size * rng.normal(0.3, 0.018), size * rng.normal(0.3, 0.02)),
        heart_x=rng.normal(0.12, 0.015),
        heart_y=size * rng.normal(0.27, 0.02),
        ribs=(size * rng.normal(0.155, 0.008), rng.uniform(0.25, 0.5)),
        bone=rng.uniform(0.08, 0.15),
        breast=rng.uniform(0.03, 0.11) if sex == "F" and age > 13 else 0.0,
        body=size * rng.uniform(0.88, 1.02),
        air=rng.uniform(0.4, 0.5),
        seed=int(rng.integers(2**32)),
    )


def draw_exposure(rng: np.random.Generator, view: str) -> Exposure:
    """Draw an exposure; one at the bedside (AP) is larger, greyer, noisier and less straight."""
    ap = view == "AP"
    return Exposure(
        angle=np.deg2rad(rng.normal(0, 2.5 if ap else 1.2)),
        scale=rng.normal(1.04 if ap else 1.0, 0.025),
        shift=(rng.normal(0, 0.03), rng.normal(0.02, 0.03)),
        contrast=rng.uniform(0.78, 0.98) if ap else rng.uniform(0.9, 1.1),
        brightness=rng.normal(0.02 if ap else 0, 0.03),
        noise=rng.uniform(0.02, 0.035) if ap else rng.uniform(0.012, 0.025),
        lines=bool(ap and rng.random() < 0.5),
        seed=int(rng.integers(2**32)),
    )
