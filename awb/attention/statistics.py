"""Statistics that several kinds share."""

from __future__ import annotations

from torch import Tensor, nn

from awb.errors import AWBError


def variance(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Variance over some dimensions with n − 1 in the denominator; 0 where n is 1. Dimensions are kept."""
    n = 1
    for dim in dims:
        n *= x.shape[dim]
    deviation = x - x.mean(dim=dims, keepdim=True)
    return deviation.square().sum(dim=dims, keepdim=True) / max(n - 1, 1)


def require_batch(module: nn.Module, x: Tensor, kind: str) -> None:
    """Refuse a batch of one in train mode, for kinds with batch norm over one value per channel and image.

    Raises:
        AWBError: The module trains, and the batch has one image.
    """
    if module.training and x.shape[0] == 1:
        raise AWBError(
            f"{kind} cannot train at batch size 1, since its batch norm sees one value per channel and image; "
            "take a batch of at least 2, drop the last incomplete batch, or keep the block in eval mode"
        )
