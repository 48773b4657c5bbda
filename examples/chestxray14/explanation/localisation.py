"""Measures of localisation, for one map and for many: does a map lie in the box that a radiologist drew?

A map belongs to one image and one finding, and is measured only where that image has boxes of that finding. It is
float (H, W), not negative, on the pixels of the image that the boxes were scaled to. Several boxes count as one
region, their union.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from awb import AWBError
from examples.chestxray14.explanation.baselines import baseline_maps
from examples.chestxray14.explanation.cases import Case, Map, Mask, box_mask
from examples.chestxray14.explanation.maps import Inputs, MapMaker, case_maps


@dataclass(frozen=True)
class Rules:
    """Rules of measurement, fixed before any map is looked at.

    Attributes:
        tolerance: Largest distance of a hit from the box in the pointing game, as a share of the image's side. Zhang
            et al. (2016) allow 15 pixels, on photographs; 0 allows nothing.
        cuts: Shares of the map's maximum; at each, the map's region is where it is at least that share.
    """

    tolerance: float = 0.0
    cuts: tuple[float, ...] = (0.25, 0.5, 0.75)

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise AWBError(f"tolerance {self.tolerance}: expected a share of the image's side, from 0 to below 1")
        if not self.cuts or not all(0 < cut <= 1 for cut in self.cuts):
            raise AWBError(f"cuts {self.cuts}: expected shares of the maximum, above 0 and at most 1")

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures, in the order of `measure`."""
        by_cut = (f"{name}@{cut:g}" for name in ("IoU", "IoBB", "area") for cut in self.cuts)
        return ("pointing", "energy", *by_cut, "empty")


@dataclass(frozen=True, eq=False)
class Localisation:
    """Measures of the maps that one method and network made.

    Attributes:
        cases: The cases that were measured.
        measures: Names of the M measures.
        values: Measures of each case, (cases, M).
    """

    cases: tuple[Case, ...]
    measures: tuple[str, ...]
    values: npt.NDArray[np.float64]


def measure(saliency: Map, mask: Mask, rules: Rules | None = None) -> npt.NDArray[np.float64]:
    """Measure a map against a box, in the order of `Rules.measures`.

    - pointing: whether the maximum lies in the box (Zhang et al. 2016, "Top-down neural attention by excitation
      backprop"); if several pixels share the maximum, the share of them that does, which is the chance of a hit.
    - energy: the share of the map's sum that lies in the box (Wang et al. 2020, "Score-CAM", section 4.3).
    - IoU, IoBB: the region where the map reaches a cut, and the box: their intersection over their union, and over
      the region (Wang et al. 2017, "ChestX-ray8", section 4.2, where rectangles around regions are taken instead).
    - area: the region's share of the image. The smaller, the sharper; it knows no box.
    - empty: whether the map is 0 everywhere. It then misses: area is 1, and all else 0.

    Args:
        saliency: Map (H, W), finite, not negative; its scale does not matter.
        mask: Pixels in the box, bool (H, W).
        rules: Rules of measuring; by default `Rules()`.

    Raises:
        AWBError: A map that is negative or not finite, or has another shape than the mask; or an empty mask.
    """
    rules = rules or Rules()
    saliency = np.asarray(saliency, dtype=np.float64)
    _check(saliency, mask)
    peak = saliency.max()
    if peak == 0:
        n = len(rules.cuts)
        return np.array([0.0, 0.0, *[0.0] * 2 * n, *[1.0] * n, 1.0])
    saliency = saliency / peak  # so that sums of the tiniest maps do not underflow
    pointing = _dilated(mask, rules.tolerance * len(mask))[saliency == 1].mean()
    energy = saliency[mask].sum() / saliency.sum()
    regions = [saliency >= cut for cut in rules.cuts]
    both = [(region & mask).sum() for region in regions]
    iou = [b / (region | mask).sum() for b, region in zip(both, regions, strict=True)]
    iobb = [b / region.sum() for b, region in zip(both, regions, strict=True)]
    return np.array([pointing, energy, *iou, *iobb, *(region.mean() for region in regions), 0.0])


def localise(cases: Iterable[Case], maps: Iterable[Map], size: int, rules: Rules | None = None) -> Localisation:
    """Measure the maps of some cases.

    Args:
        cases: Cases with boxes in pixels of images of `size`.
        maps: One map per case, in their order, (size, size).
        size: Side of the images in pixels.
        rules: Rules of measuring; by default `Rules()`.

    Raises:
        AWBError: Not one map per case, or what `box_mask` and `measure` refuse, with the case named.
    """
    rules, cases = rules or Rules(), tuple(cases)
    rows: list[npt.NDArray[np.float64]] = []
    for case, saliency in zip_longest(cases, maps):
        if case is None or saliency is None:
            raise AWBError(
                f"{'more' if case is None else len(rows)} maps for {len(cases)} cases; expected one per case"
            )
        try:
            rows.append(measure(saliency, box_mask(case.boxes, size), rules))
        except AWBError as error:
            raise AWBError(f"{case.image}, {case.finding}: {error}") from None
    return Localisation(cases, rules.measures, np.array(rows))


def measure_models(
    makers: Sequence[MapMaker], inputs: Inputs, cases: Sequence[Case], rules: Rules | None = None, seed: int = 0
) -> dict[str, Localisation]:
    """Measure each network's maps and the three baselines on the same cases.

    Args:
        makers: Maps to measure (`map_makers`); the random map has the first one's grid.
        inputs: Inputs of all networks.
        cases: Cases with boxes in pixels of the networks' input.
        rules: Rules of measuring; by default `Rules()`.
        seed: Seed of the random map.
    """
    size = inputs.transform.size
    results = {one.name: localise(cases, case_maps(cases, inputs, one.method), size, rules) for one in makers}
    return results | measure_baselines(cases, size, makers[0].grid, rules, seed)


def measure_baselines(
    cases: Sequence[Case], size: int, grid: int, rules: Rules | None = None, seed: int = 0
) -> dict[str, Localisation]:
    """Measure the three baselines, which need boxes and no images.

    Args:
        cases: Cases with boxes in pixels of images of `size`.
        size: Side of the images in pixels.
        grid: Side of the random map's grid.
        rules: Rules of measuring; by default `Rules()`.
        seed: Seed of the random map.
    """
    maps = baseline_maps(cases, size, grid, seed)
    return {name: localise(cases, some, size, rules) for name, some in maps.items()}


def _dilated(mask: Mask, distance: float) -> Mask:
    """The mask with all pixels up to a distance from it, between centres."""
    if distance == 0:
        return mask
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~mask) <= distance)


def _check(saliency: Map, mask: Mask) -> None:
    if saliency.shape != mask.shape or mask.ndim != 2:
        raise AWBError(f"a map of {saliency.shape} and a mask of {mask.shape}; expected the same (H, W)")
    if not mask.any():
        raise AWBError("the mask is empty: there is no box to lie in")
    if not np.isfinite(saliency).all():
        raise AWBError("the map holds NaN or infinite values")
    if saliency.min() < 0:
        raise AWBError(f"the map goes down to {saliency.min():.3g}; expected no negative values (apply a ReLU)")
