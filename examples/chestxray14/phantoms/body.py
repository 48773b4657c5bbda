"""Chest drawn from its layers: soft tissue, lungs, vessels, heart, spine, ribs, clavicles, film and grain."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from examples.chestxray14.phantoms.scene import LEFT, RIGHT, Grid, Scene, soft_step


def draw_body(scene: Scene) -> npt.NDArray[np.uint8]:
    """Draw the finished image, uint8 (size, size)."""
    image = _soft_tissue(scene)
    heart = _heart(scene)
    air = np.clip(scene.lung * (1 - heart), 0, 1)
    image -= scene.anatomy.air * air * scene.air * (1 + 0.06 * scene.texture(scene.anatomy.seed, 0.25))
    image += 0.5 * _vessels(scene) * air * scene.markings
    image += scene.opacity * (0.85 - image).clip(0)
    image += _mediastinum(scene)
    image += scene.lines
    image += _bones(scene)
    image = _expose(image * _outline(scene), scene)
    return (image * 255).round().astype(np.uint8)


def _soft_tissue(scene: Scene) -> Grid:
    """Muscle, fat and breasts, brighter towards the midline and the abdomen."""
    a = scene.anatomy
    image = 0.62 + 0.24 * soft_step((scene.y - a.lung_base) / 0.2) - 0.1 * np.abs(scene.x)
    for side in (LEFT, RIGHT):
        breast = scene.ellipse(side * (a.lung_x + 0.06), a.lung_base - 0.13, 0.36, 0.3, 0.35)
        image += a.breast * breast * soft_step((scene.y - a.lung_base + 0.35) / 0.15)
    # the stomach's bubble under the left dome, at the right of the image
    bubble = scene.ellipse(0.36, a.lung_base + 0.17, 0.14, 0.07, 0.4)
    return (image - 0.13 * bubble).astype(np.float32)


def _heart(scene: Scene) -> Grid:
    """Fraction of each pixel that the heart and great vessels cover."""
    a = scene.anatomy
    width, height = a.heart
    down = (scene.y - a.heart_y) / height
    # the left ventricle swells from the great vessels to the apex, the right atrium bulges less
    ventricle = 0.09 + (a.heart_x + width - 0.09) * np.sin(0.5 * np.pi * np.clip((down + 1.35) / 1.7, 0, 1)) ** 1.4
    ventricle -= 0.35 * width * np.clip(down - 0.5, 0, 1) ** 2
    atrium = 0.09 + max(width - a.heart_x - 0.09, 0) * np.exp(-(((down - 0.15) / 0.75) ** 2))
    heart = soft_step((ventricle - scene.x) / 0.025) * soft_step((scene.x + atrium) / 0.025)
    lowest = max(a.heart_y + height, a.lung_base + 0.05)  # it lies on the diaphragm
    heart *= soft_step((down + 1.35) / 0.1) * soft_step((lowest - scene.y) / 0.03)
    pedicle = soft_step((0.11 - np.abs(scene.x)) / 0.03) * soft_step((a.heart_y - scene.y) / 0.1)
    knob = scene.ellipse(0.1, -0.3, 0.085, 0.1, 0.35)
    return np.maximum.reduce([heart, pedicle, knob])


def _mediastinum(scene: Scene) -> Grid:
    """Brightness of heart and spine, and the windpipe."""
    a = scene.anatomy
    heart = 0.14 * _heart(scene) * soft_step((a.lung_base + 0.15 - scene.y) / 0.2)
    column = soft_step((0.09 - np.abs(scene.x)) / 0.03)
    discs = 0.012 * np.cos(2 * np.pi * scene.y / (1.1 * a.ribs[0])) + 0.045
    spine = column * discs
    # it divides at the carina
    trachea = soft_step((0.04 - np.abs(scene.x)) / 0.02) * soft_step((-0.28 - scene.y) / 0.05)
    for side in (LEFT, RIGHT):
        away = side * scene.x - 0.75 * (scene.y + 0.3)
        trachea += 0.6 * soft_step((0.03 - np.abs(away)) / 0.02) * soft_step((0.1 - np.abs(scene.y + 0.2)) / 0.04)
    return heart + spine - 0.13 * trachea


def _vessels(scene: Scene) -> Grid:
    """Vessels that branch from the two hila into the lungs, and the hila."""
    size = scene.size
    canvas = Image.new("L", (size, size))
    draw = ImageDraw.Draw(canvas)
    for generation, lines in enumerate(_branches(np.random.default_rng(scene.anatomy.seed))):
        px, py = scene.to_pixels(lines[..., 0], lines[..., 1])
        width = max(1, round(0.0085 * 0.7**generation * size))
        for ends in np.stack([px, py], axis=-1).reshape(-1, 4).tolist():
            draw.line(ends, fill=218 - 32 * generation, width=width)
    vessels = gaussian_filter(np.asarray(canvas, dtype=np.float32) / 255, 0.004 * size)
    hila = sum(scene.ellipse(side * 0.18, -0.02 - 0.03 * side, 0.075, 0.13, 0.7) for side in (LEFT, RIGHT))
    return vessels * 0.3 + 0.26 * hila


def _branches(rng: np.random.Generator, generations: int = 5) -> Iterator[npt.NDArray[np.float64]]:
    """Lines of each generation of vessels, (n, 2 ends, x and y): each divides in two at its end."""
    angle = np.deg2rad(np.tile(np.linspace(-80, 78, 10), 2))
    side = np.repeat([LEFT, RIGHT], 10)
    start = np.stack([0.15 * side, np.full(20, -0.02)], axis=1)
    for _ in range(generations):
        length = rng.uniform(0.1, 0.19, len(angle))
        end = start + np.stack([side * length * np.cos(angle), length * np.sin(angle)], axis=1)
        yield np.stack([start, end], axis=1)
        turns = rng.normal([[-0.3], [0.3]], 0.15, (2, len(angle)))
        angle, side, start = (angle + turns).ravel(), np.tile(side, 2), np.tile(end, (2, 1))


def _bones(scene: Scene) -> Grid:
    """Ribs behind (sloping down from the spine) and in front (sloping up to the side), clavicles, shoulder blades."""
    a = scene.anatomy
    spacing, slope = a.ribs
    away = np.abs(scene.x)
    wall = 1.02 * (a.lung_x + a.lung_width) + 0.08 * scene.y
    chest = soft_step((wall - away) / 0.03) * soft_step((scene.y - a.lung_top + 0.02) / 0.06)
    behind = scene.y + 0.1 * away - (0.35 + slope) * away**2
    front = scene.y + 0.35 * away - 0.8 * (0.75 - away) ** 2
    bones = a.bone * _bands(behind / spacing) * soft_step((away - 0.09) / 0.04)
    bones += 0.5 * a.bone * _bands(front / (1.15 * spacing) + 0.4) * soft_step((away - 0.24) / 0.1)
    bones *= chest * soft_step((a.lung_base + 0.28 - scene.y) / 0.2)
    for side in (LEFT, RIGHT):
        line = a.lung_top + 0.2 - 0.1 * np.sin(3.2 * away) - 0.12 * away
        inside = soft_step((away - 0.07) / 0.02) * soft_step((0.78 - away) / 0.08) * (side * scene.x > 0)
        d = np.abs(scene.y - line) / 0.038
        bones += a.bone * 1.5 * inside * soft_step((1 - d) / 0.25) * (0.75 + 0.5 * np.clip(d, 0, 1) ** 4)
        blade = scene.ellipse(side * (a.lung_x + a.lung_width + 0.06), -0.3, 0.13, 0.33, 0.15)
        bones += 0.45 * a.bone * blade
    return bones.astype(np.float32)


def _bands(phase: np.ndarray) -> Grid:
    """Bright bands with brighter edges, one per unit, like the shadows of tubes of bone."""
    d = np.abs(phase - np.round(phase)) / 0.2
    return soft_step((1 - d) / 0.2) * (0.55 + 0.7 * np.clip(d, 0, 1) ** 3)


def _outline(scene: Scene) -> Grid:
    """Outline of neck, shoulders and flanks, with air around them."""
    a = scene.anatomy
    shoulder = soft_step((scene.y - a.lung_top - 0.02) / 0.16)
    half = 0.3 + (a.body + 0.16 - 0.3) * shoulder - 0.14 * soft_step((scene.y + 0.1) / 0.5)
    return 0.06 + 0.94 * soft_step((half - np.abs(scene.x)) / 0.03)


def _expose(image: Grid, scene: Scene) -> Grid:
    """Apply contrast and grain, and draw leads and the film's marker."""
    e = scene.exposure
    rng = np.random.default_rng(e.seed)
    size = scene.size
    if e.lines:
        image = image + 0.25 * _leads(scene, rng)
    image = gaussian_filter(image, 0.0025 * size)
    image = 0.5 + (image - 0.5) * e.contrast + e.brightness
    grain = rng.standard_normal((size, size), dtype=np.float32)
    image = image + e.noise * (0.7 * grain + 1.3 * gaussian_filter(grain, 1.0))
    canvas = Image.new("L", (size, size))
    corner = (0.9 * size, 0.06 * size)
    ImageDraw.Draw(canvas).text(corner, "L", fill=230, font_size=0.06 * size)
    return np.clip(np.maximum(image, np.asarray(canvas, dtype=np.float32) / 255), 0, 1)


def _leads(scene: Scene, rng: np.random.Generator) -> Grid:
    canvas = Image.new("L", (scene.size, scene.size))
    draw = ImageDraw.Draw(canvas)
    for _ in range(3):
        ends = rng.uniform(-0.8, 0.8, 2)
        t = np.linspace(0, 1, 24)
        x = ends[0] + (ends[1] - ends[0]) * t + 0.15 * np.sin(3 * t + rng.uniform(0, 6))
        y = rng.uniform(-0.6, 0.2) + (1.1 - 0) * t
        px, py = scene.to_pixels(x, y)
        draw.line(list(zip(px.tolist(), py.tolist(), strict=True)), fill=200, width=max(1, scene.size // 150))
        r = 0.022 * scene.size
        draw.ellipse([px[0] - r, py[0] - r, px[0] + r, py[0] + r], outline=255, width=max(1, scene.size // 100))
    return np.divide(np.asarray(canvas), 255, dtype=np.float32)
