"""Scene of one phantom image: the pixel grid in the patient's coordinates, and the layers that findings change."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from examples.chestxray14.phantoms.anatomy import Anatomy, Exposure

Grid = npt.NDArray[np.float32]
LEFT, RIGHT = -1, 1  # of the image; the patient's right lung is at the left
_REACH = 1.5  # largest coordinate of an image's corner
_NORMALISE = np.float32(2.1)  # a cubic B-spline of white noise has a standard deviation of 0.48


@dataclass
class Scene:
    """Layers of one image, all (size, size).

    Attributes:
        x, y: Patient's coordinates of each pixel.
        lungs: Fraction of each pixel that is lung, by side.
        air: Factor on the darkness of the lungs.
        markings: Factor on the vessels.
        opacity: Brightness added inside the chest before the bones, 0 to 1.
        lines: Brightness of fine structures, added last.
    """

    anatomy: Anatomy
    exposure: Exposure
    size: int
    x: Grid = field(init=False)
    y: Grid = field(init=False)
    lungs: dict[int, Grid] = field(init=False)
    air: Grid = field(init=False)
    markings: Grid = field(init=False)
    opacity: Grid = field(init=False)
    lines: Grid = field(init=False)

    def __post_init__(self) -> None:
        ticks = ((np.arange(self.size, dtype=np.float32) + 0.5) * 2 / self.size - 1).astype(np.float32)
        dx = (ticks[None, :] - self.exposure.shift[0]) / self.exposure.scale
        dy = (ticks[:, None] - self.exposure.shift[1]) / self.exposure.scale
        cos, sin = np.float32(np.cos(self.exposure.angle)), np.float32(np.sin(self.exposure.angle))
        self.x, self.y = cos * dx + sin * dy, cos * dy - sin * dx
        self.lungs = {side: self._lung(side) for side in (LEFT, RIGHT)}
        shape = (self.size, self.size)
        self.air, self.markings = np.ones(shape, np.float32), np.ones(shape, np.float32)
        self.opacity, self.lines = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    @property
    def lung(self) -> Grid:
        """Both lungs."""
        return self.lungs[LEFT] + self.lungs[RIGHT]

    def diaphragm(self, side: int) -> Grid:
        """Height of the diaphragm at each pixel: highest towards the midline, lower at the side."""
        a = self.anatomy
        top = a.lung_base - (a.dome_gap if side == LEFT else 0)
        away = (side * self.x - 0.75 * a.lung_x) / a.lung_width
        return top + a.dome * away**2 * np.where(away > 0, 1.0, 0.6).astype(np.float32)

    def rim(self, side: int) -> Grid:
        """Distance from the centre of a lung: 0 there, 1 at its wall."""
        down, centre, width = _lung_shape(self.anatomy, self.y)
        return np.abs((side * self.x - centre) / width) ** 2.5 + np.abs(down) ** 2.5

    def _lung(self, side: int) -> Grid:
        inside = soft_step((1 - self.rim(side)) / 0.1)
        return inside * soft_step((self.diaphragm(side) - self.y) / 0.015)

    def ellipse(self, x: float, y: float, rx: float, ry: float, softness: float = 0.25) -> Grid:
        """Ellipse with soft edges: 1 inside, 0 outside."""
        radius = np.sqrt(((self.x - x) / rx) ** 2 + ((self.y - y) / ry) ** 2)
        return soft_step((1 - radius) / softness * 2)

    def texture(self, seed: int, scale: float) -> Grid:
        """Smooth noise with mean 0 and standard deviation near 1; `scale` is the size of its lumps.

        It is defined in the patient's coordinates: the same on all images of a patient, at any size.
        """
        cells = int(2 * _REACH / scale) + 4
        lattice = np.random.default_rng(seed).standard_normal((cells, cells), dtype=np.float32)
        at = np.stack([(self.y + _REACH) / scale + 1, (self.x + _REACH) / scale + 1])
        return _NORMALISE * map_coordinates(lattice, at, order=3, prefilter=False, mode="nearest")

    def to_pixels(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Convert the patient's coordinates to pixels, 0 to size."""
        return patient_to_pixels(self.exposure, self.size, x, y)


def patient_to_pixels(
    exposure: Exposure, size: int, x: npt.ArrayLike, y: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    cos, sin = np.cos(exposure.angle), np.sin(exposure.angle)
    dx, dy = cos * x - sin * y, sin * x + cos * y
    return tuple((exposure.scale * d + s + 1) * size / 2 for d, s in zip((dx, dy), exposure.shift, strict=True))


def soft_step(d: np.ndarray) -> Grid:
    """Smooth step: 0 below -1, 1 above 1."""
    t = np.clip(d * 0.5 + 0.5, 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def wall(anatomy: Anatomy, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Distance between the midline and the outer wall of a lung at some heights."""
    down, centre, width = _lung_shape(anatomy, np.asarray(y))
    return np.asarray(centre + width * np.clip(1 - np.abs(down) ** 2.5, 0, 1) ** 0.4)


def _lung_shape(anatomy: Anatomy, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Height relative to a lung's centre (-1 is the apex), and the lung's centre and half width there."""
    middle = 0.12
    down = (y - middle) / (middle - anatomy.lung_top)
    return down, anatomy.lung_x + 0.07 * down, anatomy.lung_width * (1 + 0.16 * down)
