"""Maps that have not seen the image: what any map must beat to have said something."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch.nn.functional import interpolate

from examples.chestxray14.explanation.localisation import Case, Map, box_mask

CENTRE_SIGMA = 0.25  # of the side; at half its maximum the prior is a disc across 59 % of the image


def centre_maps(cases: Iterable[Case], size: int) -> Iterator[Map]:
    """The same for every case: a Gaussian about the image's middle."""
    squared = ((np.arange(size) + 0.5) / size - 0.5) ** 2
    prior = np.exp(-(squared[:, None] + squared) / (2 * CENTRE_SIGMA**2))
    return (prior for _ in cases)


def random_maps(cases: Iterable[Case], size: int, grid: int, seed: int = 0) -> Iterator[Map]:
    """Uniform noise on a network's own grid, enlarged as its maps are: (size, size) of grid × grid numbers.

    Args:
        cases: A map is a function of the seed and its case's place among them.
        size: Side of the images in pixels.
        grid: Side of the map that the network has; noise by the pixel would be an easier baseline.
        seed: Of the noise.
    """
    for row, _ in enumerate(cases):
        noise = np.random.default_rng([seed, row]).random((1, 1, grid, grid))
        yield interpolate(torch.from_numpy(noise), size=(size, size), mode="bilinear")[0, 0].numpy()


def box_prior_maps(cases: Sequence[Case], size: int) -> Iterator[Map]:
    """Where the finding's boxes lie in the other patients: the mean of their masks.

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
