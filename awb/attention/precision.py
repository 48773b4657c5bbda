"""Numbers that stay finite in half precision: statistics in float32, clamped maps, products with a scale of 0."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.amp import is_autocast_available

_HALF = (torch.float16, torch.bfloat16)


def finite(x: Tensor) -> Tensor:
    """Replace infinities by the largest finite number in float16, since 0 · inf is NaN; NaN stays NaN."""
    if x.dtype is not torch.float16:
        return x
    limit = torch.finfo(x.dtype).max
    return x.clamp(-limit, limit)


def cleaned(x: Tensor) -> Tensor:
    """Tensor with 0 for what is not finite: it stays where it is in the map, and a block does not spread it."""
    return x.nan_to_num(0.0, 0.0, 0.0)


def scaled(x: Tensor, scale: Tensor) -> Tensor:
    """Product x · scale that is 0 wherever the scale is 0, whatever `x` is there: 0 · inf and 0 · NaN would be NaN.

    Args:
        x: The tensor, of any shape.
        scale: Its factors, broadcast to `x`.
    """
    return scale * torch.where(scale == 0, cleaned(x), finite(x))


def as_float32(x: Tensor) -> Tensor:
    """Copy of a half-precision tensor in float32; any other tensor as it is."""
    return x.float() if x.dtype in _HALF else x


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Context in which autocast is off on the tensor's device: layers compute in the dtype of their weights.

    Under autocast the weights are float32, and so are the gate's statistics and logits.
    """
    device = x.device.type
    return torch.autocast(device, enabled=False) if is_autocast_available(device) else nullcontext()


def like_weights(x: Tensor, layer: nn.Module) -> Tensor:
    """A tensor in the dtype of a layer's weights, clamped to what that dtype can hold."""
    dtype = next(layer.parameters()).dtype
    if dtype is torch.float16 and x.dtype is not dtype:
        limit = torch.finfo(dtype).max
        x = x.clamp(-limit, limit)
    return x.to(dtype)


def map_mean(x: Tensor) -> Tensor:
    """Mean over height and width, N×C×1×1, in float32 for half-precision maps."""
    return as_float32(x).mean(dim=(2, 3), keepdim=True)


def map_max(x: Tensor) -> Tensor:
    """Maximum over height and width, N×C×1×1, in float32 for half-precision maps."""
    return as_float32(x.amax(dim=(2, 3), keepdim=True))
