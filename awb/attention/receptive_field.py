"""Measure the receptive field of a block."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from awb.errors import AWBError

_DRAWS = 4  # a single draw may leave every unit behind a ReLU dead


@torch.inference_mode(False)
@torch.enable_grad()
def receptive_field(block: nn.Module, channels: int | None = None, max_size: int = 63) -> tuple[float, float]:
    """Measure, by gradients, the height and width of the input region on which one output position depends.

    A copy of the block with random weights (a gate at identity would hide everything) maps a random input in
    float64; the extent of the non-zero gradient of the centre output is the field. LKA's is 23×23: 5 + 6·3.

    Args:
        block: An attention module, or an attached block.
        channels: Number of channels of its map; by default the block's, or its first convolution's.
        max_size: Side of the largest map tried; a field that reaches its border counts as global.

    Returns:
        (height, width) in positions, `math.inf` on an axis along which the field is global.

    Raises:
        AWBError: The number of channels cannot be read off.
    """
    attention = block.get_submodule("attention") if hasattr(block, "planned") else block
    first = next((m for m in block.modules() if isinstance(m, nn.Conv2d)), None)
    channels = channels or getattr(block, "channels", None) or (first.in_channels if first else None)
    if channels is None:
        raise AWBError(f"{type(block).__name__} has no convolution that tells its channels; pass channels=…")
    probe = copy.deepcopy(attention).cpu().double().eval().requires_grad_(False)
    field = (math.inf, math.inf)
    for size in (max_size // 2, max_size):  # most fields are small, and small maps are quick
        touched = _touched(probe, channels, size // 2 * 2 + 1)
        field = _extent(touched.any(dim=1)), _extent(touched.any(dim=0))
        if math.inf not in field:
            break
    return field


def _touched(probe: nn.Module, channels: int, side: int) -> Tensor:
    """Positions of a side×side input map on which the output's centre depends."""
    touched = torch.zeros(side, side, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    for _ in range(_DRAWS):
        for parameter in probe.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            fan_in = parameter.numel() // max(1, len(parameter)) if parameter.ndim else 1
            parameter.data.copy_(noise / max(1, fan_in) ** 0.5)  # no saturated sigmoid
        x = torch.randn(1, channels, side, side, generator=generator, dtype=torch.float64).requires_grad_()
        centre = probe(x)[:, :, side // 2, side // 2].sum()
        (gradient,) = torch.autograd.grad(centre, x)
        touched |= gradient[0].ne(0).any(dim=0)
    return touched


def _extent(touched: Tensor) -> float:
    positions = touched.nonzero()
    if not len(positions) or touched[0] or touched[-1]:
        return math.inf if len(positions) else 0
    return int(positions.max() - positions.min()) + 1
