"""Baselines: maps that have not seen the image. A map that does not beat them has shown nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch.nn.functional import interpolate

from examples.chestxray14.explanation.cases import Case, Map, box_mask

BASELINES = ("centre prior", "random map", "other patients' boxes")
CENTRE_SIGMA = 0.25  # of the side; at half its maximum the prior is a disc across 59 % of the image


def baseline_maps(cases: Sequence[Case], size: int, grid: int, seed: int = 0) -> dict[str, Iterator[Map]]:
    """The maps of each baseline, by its name.

    Args:
        cases: Cases with boxes in pixels of images of `size`.
        size: Side of the images in pixels.
        grid: Side of the random map's grid.
        seed: Seed of the random map.
    """
    maps = (centre_maps(cases, size), random_maps(cases, size, grid, seed), box_prior_maps(cases, size))
    return dict(zip(BASELINES, maps, strict=True))


def centre_maps(cases: Iterable[Case], size: int) -> Iterator[Map]:
    """A Gaussian about the middle of the image, the same for every case."""
    squared = ((np.arange(size) + 0.5) / size - 0.5) ** 2
    prior = np.exp(-(squared[:, None] + squared) / (2 * CENTRE_SIGMA**2))
    return (prior for _ in cases)


def random_maps(cases: Iterable[Case], size: int, grid: int, seed: int = 0) -> Iterator[Map]:
    """Uniform noise on a grid × grid map, enlarged to (size, size) as a network's maps are.

    Args:
        cases: Cases; a map is a function of the seed and of its case's place among them.
        size: Side of the images in pixels.
        grid: Side of the network's map; noise per pixel would be an easier baseline.
        seed: Seed of the noise.
    """
    for row, _ in enumerate(cases):
        noise = np.random.default_rng([seed, row]).random((1, 1, grid, grid))
        yield interpolate(torch.from_numpy(noise), size=(size, size), mode="bilinear")[0, 0].numpy()


def box_prior_maps(cases: Sequence[Case], size: int) -> Iterator[Map]:
    """Mean mask of the boxes that the other patients have of the same finding.

    It knows the finding and the anatomy, and nothing of the image, so it is the hardest of the three. Without another
    patient's box the map is 0 everywhere, which is a miss.
    """
    masks = [box_mask(case.boxes, size) for case in cases]
    sums: dict[tuple[str, str | None], Map] = {}
    for case, mask in zip(cases, masks, strict=True):
        for key in ((case.finding, None), (case.finding, case.patient)):
            sums[key] = sums.get(key, np.zeros((size, size))) + mask
    for case in cases:
        yield sums[case.finding, None] - sums[case.finding, case.patient]
