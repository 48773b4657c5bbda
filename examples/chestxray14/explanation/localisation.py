"""Does a map lie in the box that a radiologist drew? The measures of one map, and of many.

A map is of one image and one finding, and is measured only where that image has boxes of that finding. It is
float (H, W), not negative, on the pixels of the image that the boxes were scaled to; the box of several is their union.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from awb import AWBError
from awb.errors import shortlist
from awb.study import LabelTable
from examples.chestxray14.data.boxes import Box, Boxes

Map = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rules:
    """What is fixed before any map is looked at.

    Attributes:
        tolerance: Of the pointing game: how far from the box a maximum may lie, as a share of the image's side. Zhang
            et al. (2016) allow 15 pixels, of photographs; 0 allows nothing.
        cuts: The map's region is where it is at least this share of its maximum, for each of them.
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
        """Their names, in the order of `measure`."""
        by_cut = (f"{name}@{cut:g}" for name in ("IoU", "IoBB", "area") for cut in self.cuts)
        return ("pointing", "energy", *by_cut, "empty")


@dataclass(frozen=True)
class Case:
    """A finding of an image, with its boxes."""

    image: str
    finding: str
    patient: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True, eq=False)
class Localisation:
    """The measures of one way of making maps.

    Attributes:
        cases: What was measured.
        measures: M names.
        values: (cases, M).
    """

    cases: tuple[Case, ...]
    measures: tuple[str, ...]
    values: npt.NDArray[np.float64]


def find_cases(boxes: Boxes, table: LabelTable) -> tuple[Case, ...]:
    """The boxed findings of the images in a table, in the order of the boxes. Other images' boxes are left out.

    Raises:
        AWBError: The table has no patients, none of its images has a box, or it does not know a finding.
    """
    if table.groups is None:
        raise AWBError("the table has no patients (groups), which the intervals draw")
    unknown = sorted({box.finding for box in boxes} - set(table.classes))
    if unknown:
        raise AWBError(f"boxes of {shortlist(unknown)}, which the table does not have: {shortlist(table.classes, 20)}")
    patients = dict(zip(table.images.tolist(), table.groups.tolist(), strict=True))
    together: dict[tuple[str, str], list[Box]] = {}
    for box in boxes.of(patients):
        together.setdefault((box.image, box.finding), []).append(box)
    if not together:
        raise AWBError(f"none of the {len(boxes):,} boxes is on any of the table's {len(table):,} images")
    return tuple(Case(image, finding, str(patients[image]), tuple(of)) for (image, finding), of in together.items())


def box_mask(boxes: Iterable[Box], size: int) -> Mask:
    """The pixels whose centres lie in any of the boxes, bool (size, size).

    Args:
        boxes: In pixels of the same image.
        size: Its side.

    Raises:
        AWBError: A box holds no pixel's centre: the image is too small for it.
    """
    centres = np.arange(size) + 0.5
    mask = np.zeros((size, size), dtype=bool)
    for box in boxes:
        across = (centres >= box.x) & (centres < box.x + box.width)
        down = (centres >= box.y) & (centres < box.y + box.height)
        if not (across.any() and down.any()):
            raise AWBError(
                f"{box.image}: the box of {box.finding}, {box.width:.2g}×{box.height:.2g} pixels, holds none of the "
                f"{size}×{size} pixels; measure on larger images"
            )
        mask |= down[:, None] & across
    return mask


def measure(saliency: Map, mask: Mask, rules: Rules | None = None) -> npt.NDArray[np.float64]:
    """The measures of a map against a box, in the order of `Rules.measures`.

    - pointing: whether the maximum lies in the box (Zhang et al. 2016, "Top-down neural attention by excitation
      backprop"); if several pixels share the maximum, the share of them that does, which is the chance of a hit.
    - energy: the share of the map's sum that lies in the box (Wang et al. 2020, "Score-CAM", section 4.3).
    - IoU, IoBB: the region where the map reaches a cut, and the box: their intersection over their union, and over
      the region (Wang et al. 2017, "ChestX-ray8", section 4.2, where rectangles around regions are taken instead).
    - area: the region's share of the image. The smaller, the sharper; it knows no box.
    - empty: whether the map is 0 everywhere. It then misses: area is 1, and all else 0.

    Args:
        saliency: (H, W), finite, not negative; its scale does not matter.
        mask: Pixels in the box, bool (H, W).
        rules: Of what counts; by default `Rules()`.

    Raises:
        AWBError: A map that is negative or not finite, another shape than the mask's, or an empty mask.
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
        cases: With boxes in pixels of images of `size`.
        maps: One a case, in their order, (size, size).
        size: Side of the images in pixels.
        rules: Of what counts; by default `Rules()`.

    Raises:
        AWBError: Not one map a case, or what `box_mask` and `measure` refuse, with the case named.
    """
    rules, cases = rules or Rules(), tuple(cases)
    rows: list[npt.NDArray[np.float64]] = []
    for case, saliency in zip_longest(cases, maps):
        if case is None or saliency is None:
            raise AWBError(f"{'more' if case is None else len(rows)} maps for {len(cases)} cases; expected one a case")
        try:
            rows.append(measure(saliency, box_mask(case.boxes, size), rules))
        except AWBError as error:
            raise AWBError(f"{case.image}, {case.finding}: {error}") from None
    return Localisation(cases, rules.measures, np.array(rows))


def _dilated(mask: Mask, distance: float) -> Mask:
    """The mask and the pixels no farther from it than a distance between centres."""
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
