"""What of a test set a training has seen: images that it trained or chose its weights on, or others of a patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from awb.study import LabelTable, Split
from examples.chestxray14.data.study import sets_of
from examples.chestxray14.recipes.schema import Recipe

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Leak:
    """Test images, (n,), by what was seen.

    Attributes:
        images: They themselves were trained on, or the weights were chosen on them.
        patients: Any image of their patient was: a leak as well, since images of one patient are alike.
    """

    images: Mask
    patients: Mask

    @property
    def any(self) -> bool:
        return bool((self.images | self.patients).any())

    def note(self) -> str:
        """A sentence for whatever shows the figures; empty if nothing was seen."""
        if not self.any:
            return ""
        return (
            f"LEAK: {percent(self.images)} of the test images were trained or chosen on, {percent(self.patients)} are "
            "of patients that were. The figures are too high."
        )


def find_leak(recipe: Recipe, split: Split, test: LabelTable) -> Leak:
    """What the stages of a recipe train and validate on, of a test set."""
    stages = dict.fromkeys(map(sets_of, recipe.stages))
    used = {image for stage in stages for part in ("train", "validation") for image in split.sets[f"{stage}/{part}"]}
    patients = {split.groups[image] for image in used}
    assert test.groups is not None
    return Leak(np.isin(test.images, sorted(used)), np.isin(test.groups, sorted(patients)))


def percent(mask: Mask) -> str:
    """The share of a test set, in words."""
    return f"{100 * mask.mean():.1f} %"
