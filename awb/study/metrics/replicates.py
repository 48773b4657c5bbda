"""Replicates of a patient-clustered bootstrap: the number of draws of each group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.argument_names import argument
from awb.study.array_types import Floats, Indices
from awb.study.metrics.cases import check_groups, require_one_group_per_image

_BLOCK = 32  # groups × 32 and score bins × 32 float64 stay in a core's cache


@dataclass(frozen=True, eq=False)
class Replicates:
    """R draws of G groups out of G with replacement; an image counts as often as its group is drawn.

    Draws are not stored: 32 replicates at a time are drawn again from the seed and the number of their block, so that
    every model, class and metric gets the same ones.

    Attributes:
        groups: Group of each image as a number from 0, (n,).
        n_replicates: Number of replicates, R.
        seed: Seed of the draws.
    """

    groups: Indices
    n_replicates: int
    seed: int

    def __len__(self) -> int:
        return self.n_replicates

    @property
    def n_groups(self) -> int:
        """Number of groups, G."""
        return int(self.groups.max()) + 1

    def same_draws(self, other: Replicates) -> bool:
        """True if other replicates draw the same groups of the same images."""
        alike = (self.n_replicates, self.seed) == (other.n_replicates, other.seed)
        return self is other or (alike and np.array_equal(self.groups, other.groups))

    def require_images(self, n: int) -> None:
        """Refuse replicates made for another number of images.

        Raises:
            AWBError: There are not n images.
        """
        require_one_group_per_image(self.groups, n)

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """Slices of up to 32 replicates, with the number of draws of each group in them, float64 (G, ≤ 32)."""
        for start in range(0, self.n_replicates, _BLOCK):
            stop = min(start + _BLOCK, self.n_replicates)
            yield slice(start, stop), self._counts(start // _BLOCK)[:, : stop - start]

    def weights(self, replicate: int) -> Floats:
        """Weight of each image in one replicate, (n,): scikit-learn's `sample_weight`.

        Raises:
            AWBError: There is no such replicate.
        """
        if not 0 <= replicate < self.n_replicates:
            raise AWBError(f"replicate {replicate}; there are 0 to {self.n_replicates - 1}")
        return np.asarray(self._counts(replicate // _BLOCK)[self.groups, replicate % _BLOCK])

    def _counts(self, block: int) -> Floats:
        n = self.n_groups
        drawn = np.random.default_rng((self.seed, block)).integers(n, size=(_BLOCK, n))
        drawn += n * np.arange(_BLOCK)[:, None]  # one histogram for the whole block
        counts = np.bincount(drawn.ravel(), minlength=_BLOCK * n).reshape(_BLOCK, n)
        return np.ascontiguousarray(counts.T, dtype=np.float64)


def draw_replicates(groups: npt.ArrayLike, *, n_replicates: int = 2000, seed: int = 0) -> Replicates:
    """Draw bootstrap replicates of groups, for `bootstrap` and `estimate`.

    Args:
        groups: Groups (n,), numbers or strings: images of one group, usually a patient, are drawn together. Images
            that are independent of each other are a group each: `range(n)`.
        n_replicates: Number of replicates; 2,000 is usual for a 95 % interval.
        seed: A non-negative int.

    Raises:
        AWBError: An image without a group, fewer than two groups, or no replicates.
    """
    if n_replicates < 1:
        raise AWBError(f"{argument('n_replicates')}={n_replicates}; expected a positive int")
    if seed < 0:
        raise AWBError(f"{argument('seed')}={seed}; expected a non-negative int")
    return Replicates(check_groups(groups), n_replicates, seed)
