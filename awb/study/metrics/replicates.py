"""The replicates of a patient-clustered bootstrap: how often each group was drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.metrics.arrays import Floats, Indices, check_groups, require_one_group_per_image

_BLOCK = 32  # groups × 32 and score bins × 32 float64 stay in a core's cache


@dataclass(frozen=True, eq=False)
class Replicates:
    """Draws of G groups out of G with replacement; an image comes along as often as its group was drawn.

    Nothing is stored: 32 replicates at a time are drawn anew from the seed and their block's number, so every model,
    class and metric sees the same ones.

    Attributes:
        groups: Each image's group as a number from 0, (n,).
        n_replicates: R.
        seed: Of the draws.
    """

    groups: Indices
    n_replicates: int
    seed: int

    def __len__(self) -> int:
        return self.n_replicates

    @property
    def n_groups(self) -> int:
        """G."""
        return int(self.groups.max()) + 1

    def require_images(self, n: int) -> None:
        """Refuse replicates of other images.

        Raises:
            AWBError: There are not n images.
        """
        require_one_group_per_image(self.groups, n)

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """Some replicates at a time, and the draws of each group in them: whole numbers as float64, (G, ≤ 32)."""
        for start in range(0, self.n_replicates, _BLOCK):
            stop = min(start + _BLOCK, self.n_replicates)
            yield slice(start, stop), self._counts(start // _BLOCK)[:, : stop - start]

    def weights(self, replicate: int) -> Floats:
        """Each image's weight in one replicate, (n,): scikit-learn's `sample_weight`.

        Raises:
            AWBError: There is no such replicate.
        """
        if not 0 <= replicate < self.n_replicates:
            raise AWBError(f"replicate {replicate}; there are 0 to {self.n_replicates - 1}")
        return np.asarray(self._counts(replicate // _BLOCK)[self.groups, replicate % _BLOCK])

    def _counts(self, block: int) -> Floats:
        n = self.n_groups
        drawn = np.random.default_rng((self.seed, block)).integers(n, size=(_BLOCK, n))
        drawn += n * np.arange(_BLOCK)[:, None]  # one histogram for all
        counts = np.bincount(drawn.ravel(), minlength=_BLOCK * n).reshape(_BLOCK, n)
        return np.ascontiguousarray(counts.T, dtype=np.float64)


def draw_replicates(groups: npt.ArrayLike, *, n_replicates: int = 2000, seed: int = 0) -> Replicates:
    """Replicates for `bootstrap`.

    Args:
        groups: What is drawn as one, as a rule the patient of each image, (n,) numbers or strings. Images that
            are independent of each other are a group each: `range(n)`.
        n_replicates: How many; 2,000 for a 95 % interval is usual.
        seed: A non-negative int.

    Raises:
        AWBError: An image without a group, fewer than two groups, or no replicates.
    """
    if n_replicates < 1:
        raise AWBError(f"n_replicates={n_replicates}; expected a positive int")
    if seed < 0:
        raise AWBError(f"seed={seed}; expected a non-negative int")
    return Replicates(check_groups(groups), n_replicates, seed)
