"""Signs of the 14 findings on a phantom: placed first, without drawing a pixel, and painted later.

They imitate what the findings look like, so that a layman sees a difference; they have no medical meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from examples.chestxray14.phantoms.anatomy import Anatomy
from examples.chestxray14.phantoms.scene import LEFT, RIGHT, Grid, Scene, soft_step, wall


@dataclass(frozen=True)
class Sign:
    """Finding of a patient.

    Attributes:
        side: -1, left in the image, or 1.
        x, y: Centre in the patient's coordinates.
        rx, ry: Half width and half height, also of its box.
        strength: Visibility, from 0 (invisible) to 1 (obvious).
        seed: Seed of its texture.
    """

    finding: str
    side: int
    x: float
    y: float
    rx: float
    ry: float
    strength: float
    seed: int


Place = Callable[[Anatomy, int, np.random.Generator], tuple[float, float, float, float]]
Paint = Callable[[Scene, Sign], None]


def place_sign(finding: str, anatomy: Anatomy, rng: np.random.Generator, visit: np.random.Generator) -> Sign:
    """Draw a finding's place in a patient (`rng`) and its strength on one of the images (`visit`)."""
    side = LEFT if rng.random() < 0.5 else RIGHT
    x, y, rx, ry = _SIGNS[finding][0](anatomy, side, rng)
    strength = np.clip(rng.uniform(0.2, 1.0) + visit.normal(0, 0.08), 0.15, 1)
    return Sign(finding, side, x, y, rx, ry, float(strength), int(rng.integers(2**32)))


def change_anatomy(anatomy: Anatomy, signs: list[Sign]) -> Anatomy:
    """Change the shapes of organs according to the signs: a larger heart, overinflated lungs."""
    for sign in signs:
        if sign.finding == "Cardiomegaly":
            anatomy = replace(anatomy, heart=(sign.rx, sign.ry), heart_x=sign.x)
        if sign.finding == "Emphysema":
            s = sign.strength
            anatomy = replace(
                anatomy,
                lung_width=anatomy.lung_width * (1 + 0.08 * s),
                lung_base=anatomy.lung_base + 0.13 * s,
                dome=anatomy.dome * (1 - 0.75 * s),
                heart=(anatomy.heart[0] * (1 - 0.2 * s), anatomy.heart[1] + 0.06 * s),
                heart_y=anatomy.heart_y + 0.07 * s,
                air=anatomy.air + 0.09 * s,
            )
    return anatomy


def paint_signs(scene: Scene, signs: list[Sign]) -> None:
    """Paint signs onto the scene's layers."""
    for sign in signs:
        _SIGNS[sign.finding][1](scene, sign)


def is_localised(finding: str) -> bool:
    """True if a finding has a box."""
    return finding not in DIFFUSE


DIFFUSE = ("Edema", "Emphysema", "Fibrosis")


# places


def _in_lung(anatomy: Anatomy, side: int, rng: np.random.Generator, low: float, high: float) -> tuple[float, float]:
    """Draw a position well inside a lung, between two heights (0 is the apex, 1 the base)."""
    height = anatomy.lung_base - anatomy.lung_top
    y = anatomy.lung_top + height * rng.uniform(low, high)
    return side * (anatomy.lung_x + rng.uniform(-0.1, 0.14)), y


def _round(smallest: float, largest: float, flat: float = 1) -> Place:
    def place(anatomy: Anatomy, side: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
        x, y = _in_lung(anatomy, side, rng, 0.2, 0.8)
        r = rng.uniform(smallest, largest)
        return x, y, r, r * rng.uniform(flat, 1)

    return place


def _patch(smallest: float, largest: float, low: float, high: float) -> Place:
    def place(anatomy: Anatomy, side: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
        x, y = _in_lung(anatomy, side, rng, low, high)
        return x, y, rng.uniform(smallest, largest), rng.uniform(smallest, largest)

    return place


def _heart(anatomy: Anatomy, side: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    grown = rng.uniform(1.1, 1.55)
    width, height = anatomy.heart
    return anatomy.heart_x + 0.02, anatomy.heart_y, width * grown, height * (0.4 + 0.6 * grown)


def _base(anatomy: Anatomy, side: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    bottom = anatomy.lung_base + 1.15 * anatomy.dome
    top = anatomy.lung_base + 0.3 * anatomy.dome - rng.uniform(-0.06, 0.32)
    return side * anatomy.lung_x, (top + bottom) / 2, 1.02 * anatomy.lung_width, (bottom - top) / 2


def _wedge(anatomy: Anatomy, side: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    _, y = _in_lung(anatomy, side, rng, 0.45, 0.85)
    return side * anatomy.lung_x, y, rng.uniform(0.14, 0.26), rng.uniform(0.05, 0.13)


def _upper_rim(anatomy: Anatomy, side: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    height = anatomy.lung_base - anatomy.lung_top
    half = height * rng.uniform(0.22, 0.4)
    return side * (anatomy.lung_x + 0.06), anatomy.lung_top + half, 0.95 * anatomy.lung_width, half


def _wall(anatomy: Anatomy, side: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    y = anatomy.lung_top + (anatomy.lung_base - anatomy.lung_top) * rng.uniform(0.35, 0.75)
    half = rng.uniform(0.18, 0.34)
    x = wall(anatomy, np.linspace(y - half, y + half, 9))
    inner, outer = x.min() - 0.08, x.max() + 0.02
    return side * (inner + outer) / 2, y, (outer - inner) / 2, half


def _behind_heart(anatomy: Anatomy, side: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    r = rng.uniform(0.13, 0.2)
    return rng.uniform(0.0, 0.12), anatomy.lung_base - 0.08, r, r * rng.uniform(0.75, 0.95)


def _everywhere(anatomy: Anatomy, side: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    middle = (anatomy.lung_top + anatomy.lung_base) / 2
    return 0.0, middle, anatomy.lung_x + anatomy.lung_width, (anatomy.lung_base - anatomy.lung_top) / 2


# painting


def _blob(scene: Scene, sign: Sign, opacity: float, softness: float) -> None:
    spot = scene.ellipse(sign.x, sign.y, sign.rx, sign.ry, softness)
    scene.opacity += opacity * sign.strength * spot * (0.9 + 0.1 * scene.texture(sign.seed, 0.1))


def _nodule(scene: Scene, sign: Sign) -> None:
    _blob(scene, sign, 0.9, 0.3)


def _mass(scene: Scene, sign: Sign) -> None:
    _blob(scene, sign, 0.8, 0.2)


def _cloud(scene: Scene, sign: Sign, opacity: float, coarse: float, patchy: float) -> None:
    """Patch with ragged edges, broken up by lumps of size `coarse`."""
    lumps = scene.texture(sign.seed, coarse)
    radius = np.sqrt(((scene.x - sign.x) / sign.rx) ** 2 + ((scene.y - sign.y) / sign.ry) ** 2)
    cloud = soft_step((0.85 - radius + 0.18 * lumps) / 0.4) * np.clip(1 + patchy * lumps, 0, 2)
    scene.opacity += opacity * sign.strength * cloud * np.clip(scene.lung, 0, 1)


def _infiltration(scene: Scene, sign: Sign) -> None:
    _cloud(scene, sign, 0.34, 0.07, 0.45)


def _pneumonia(scene: Scene, sign: Sign) -> None:
    _cloud(scene, sign, 0.5, 0.1, 0.3)


def _consolidation(scene: Scene, sign: Sign) -> None:
    _cloud(scene, sign, 0.75, 0.14, 0.08)


def _atelectasis(scene: Scene, sign: Sign) -> None:
    """Wedge with its tip at the hilum, wide at the wall."""
    outwards = np.clip((sign.side * (scene.x - sign.x) + sign.rx) / (2 * sign.rx), 0, 1)
    tilt = sign.y + 0.25 * (sign.side * (scene.x - sign.x)) * (1 if sign.seed % 2 else -1)
    half = sign.ry * (0.25 + 0.75 * outwards)
    along = soft_step((sign.rx - np.abs(scene.x - sign.x)) / 0.05)
    scene.opacity += 0.6 * sign.strength * along * soft_step((half - np.abs(scene.y - tilt)) / 0.03)


def _effusion(scene: Scene, sign: Sign) -> None:
    """Fluid that fills the base and rises along the wall, so that the corner is blunt."""
    level = sign.y - sign.ry + 0.07
    climbs = 0.3 * np.clip(sign.side * scene.x - scene.anatomy.lung_x, 0, None)
    fluid = soft_step((scene.y - level + climbs) / 0.05) * np.clip(scene.lungs[sign.side], 0, 1)
    scene.air *= 1 - (0.55 + 0.45 * sign.strength) * fluid
    scene.opacity += 0.3 * fluid


def _pneumothorax(scene: Scene, sign: Sign) -> None:
    """Air around a collapsed lung: dark, without markings, a fine bright line where the lung ends."""
    rim = scene.rim(sign.side)
    edge = 0.62 - 0.3 * sign.strength + 0.5 * np.clip((scene.y - sign.y) / sign.ry, 0, 1) ** 2
    outside = soft_step((rim - edge) / 0.04) * soft_step((sign.y + sign.ry - scene.y) / 0.06)
    outside *= np.clip(scene.lungs[sign.side], 0, 1) * (sign.side * scene.x > 0.12)
    scene.markings *= 1 - outside
    scene.air *= 1 + 0.22 * outside
    line = np.exp(-(((rim - edge) / 0.05) ** 2)) * soft_step((sign.y + 0.8 * sign.ry - scene.y) / 0.1)
    scene.lines += 0.16 * line * np.clip(scene.lungs[sign.side], 0, 1) * (sign.side * scene.x > 0.15)


def _edema(scene: Scene, sign: Sign) -> None:
    """Wing-shaped haze around both hila, and blurred vessels."""
    haze = np.zeros_like(scene.x)
    for side in (LEFT, RIGHT):
        haze += scene.ellipse(side * 0.3, 0.02, 0.34, 0.5, 0.9)
    haze *= 0.85 + 0.3 * scene.texture(sign.seed, 0.16)
    scene.opacity += sign.strength * (0.42 * haze + 0.1) * np.clip(scene.lung, 0, 1)
    scene.markings *= 1 + 0.5 * sign.strength


def _emphysema(scene: Scene, sign: Sign) -> None:
    scene.markings *= 1 - 0.55 * sign.strength


def _fibrosis(scene: Scene, sign: Sign) -> None:
    """Fine net of lines, denser at the bases and the wall."""
    a = scene.anatomy
    low = soft_step((scene.y - a.lung_top) / (a.lung_base - a.lung_top) * 1.6 - 0.75)
    net = np.exp(-((scene.texture(sign.seed, 0.045) / 0.22) ** 2)) + np.exp(
        -((scene.texture(sign.seed + 1, 0.06) / 0.2) ** 2)
    )
    scene.opacity += 0.5 * sign.strength * net * low * np.clip(scene.lung, 0, 1)


def _thickening(scene: Scene, sign: Sign) -> None:
    """Bright rim along the wall."""
    rim = scene.rim(sign.side)
    along = soft_step((sign.ry - np.abs(scene.y - sign.y)) / 0.08) * (sign.side * scene.x > 0.2)
    depth = 1 - 0.45 * (0.6 + 0.4 * sign.strength) * soft_step((sign.ry - np.abs(scene.y - sign.y)) / sign.ry)
    scene.opacity += (
        (0.4 + 0.45 * sign.strength) * along * soft_step((rim - depth) / 0.06) * np.clip(scene.lungs[sign.side], 0, 1)
    )


def _hernia(scene: Scene, sign: Sign) -> None:
    """Round pouch behind the heart, with a bubble of air above a level of fluid."""
    pouch: Grid = scene.ellipse(sign.x, sign.y, sign.rx, sign.ry, 0.12)
    bubble = scene.ellipse(sign.x, sign.y, 0.82 * sign.rx, 0.78 * sign.ry, 0.15) * soft_step((sign.y - scene.y) / 0.02)
    scene.lines += (0.4 + 0.6 * sign.strength) * (0.1 * pouch - 0.26 * bubble)


_SIGNS: dict[str, tuple[Place, Paint]] = {
    "Atelectasis": (_wedge, _atelectasis),
    "Cardiomegaly": (_heart, lambda scene, sign: None),  # the anatomy has changed
    "Effusion": (_base, _effusion),
    "Infiltration": (_patch(0.16, 0.3, 0.3, 0.8), _infiltration),
    "Mass": (_round(0.1, 0.17, 0.8), _mass),
    "Nodule": (_round(0.04, 0.08, 0.85), _nodule),
    "Pneumonia": (_patch(0.16, 0.28, 0.45, 0.85), _pneumonia),
    "Pneumothorax": (_upper_rim, _pneumothorax),
    "Consolidation": (_patch(0.14, 0.26, 0.3, 0.85), _consolidation),
    "Edema": (_everywhere, _edema),
    "Emphysema": (_everywhere, _emphysema),
    "Fibrosis": (_everywhere, _fibrosis),
    "Pleural_Thickening": (_wall, _thickening),
    "Hernia": (_behind_heart, _hernia),
}
