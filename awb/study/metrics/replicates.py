"""The replicates of a patient-clustered bootstrap: how often each group was drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.metrics.arrays import Floats, Indices, check_groups


@dataclass(frozen=True, eq=False)
class Replicates:
    """Draws of G groups out of G with replacement; an image comes along as often as its group was drawn.

    Nothing is stored: replicate r is drawn anew from (seed, r), so every model, class and metric sees the same ones.

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

    def counts(self, start: int, stop: int) -> Floats:
        """Draws of each group in replicates `start` to `stop`: whole numbers as float64, (G, stop − start)."""
        n = self.n_groups
        drawn = [np.random.default_rng((self.seed, r)).integers(n, size=n) for r in range(start, stop)]
        return np.stack([np.bincount(d, minlength=n) for d in drawn], axis=1).astype(np.float64)

    def weights(self, replicate: int) -> Floats:
        """Each image's weight in one replicate, (n,): scikit-learn's `sample_weight`."""
        return np.asarray(self.counts(replicate, replicate + 1)[self.groups, 0])


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
    given = np.asarray(groups)
    return Replicates(check_groups(groups, given.shape[0] if given.ndim else 0), n_replicates, seed)
