"""Statistics that several kinds share."""

from __future__ import annotations

from torch import Tensor


def variance(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Variance over some dimensions with n − 1 in the denominator; 0 where n is 1. Dimensions are kept."""
    n = 1
    for dim in dims:
        n *= x.shape[dim]
    deviation = x - x.mean(dim=dims, keepdim=True)
    return deviation.square().sum(dim=dims, keepdim=True) / max(n - 1, 1)
