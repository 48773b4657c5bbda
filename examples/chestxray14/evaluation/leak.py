"""Leaks: test images that a run was trained or selected on, or whose patients it has seen."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from awb.study import LabelTable, Split
from examples.chestxray14.data.splits import selected_on
from examples.chestxray14.recipes.schema import Recipe

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Leak:
    """Masks over the test images, (n,).

    Attributes:
        images: Test images that the run was trained on, or that its weights were chosen on.
        patients: Test images with any such image of the same patient. That is a leak as well, since images of one
            patient are alike.
    """

    images: Mask
    patients: Mask

    @property
    def any(self) -> bool:
        """True if there is a leak."""
        return bool((self.images | self.patients).any())

    def note(self) -> str:
        """A sentence to show beside the results; empty without a leak."""
        if not self.any:
            return ""
        return (
            f"LEAK: {percent(self.images)} of the test images were trained or chosen on, {percent(self.patients)} are "
            "of patients that were. The figures are too high."
        )


def find_leak(recipe: Recipe, split: Split, test: LabelTable) -> Leak:
    """Find the images of a test set that the stages of a recipe train or validate on."""
    used = selected_on(split, recipe.stages)
    patients = {split.groups[image] for image in used}
    assert test.groups is not None
    return Leak(_members(test.images, used), _members(test.groups, patients))


def _members(names: npt.NDArray[np.str_], chosen: AbstractSet[str]) -> Mask:
    return np.array([name in chosen for name in names.tolist()], dtype=np.bool_)


def percent(mask: Mask) -> str:
    """Share of a test set in percent, such as `12.5 %`."""
    return f"{100 * mask.mean():.1f} %"
