"""LKA's attention map, computed on phases: the interleaved sub-maps that a dilated kernel sees."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from awb.kernels.depthwise import depthwise_conv2d
from awb.kernels.phases import join_phases, split_phases
from awb.kernels.pointwise import pointwise_to_contiguous

Convolution = tuple[Tensor, Tensor]  # weight and bias


def polyphase_lka_map(
    x: Tensor, depthwise: Convolution, dilated: Convolution, pointwise: Convolution, dilation: int
) -> Tensor:
    """Compute pointwise(dilated(depthwise(x))), each with the padding that keeps the map's size.

    All but the last step is computed channels-last, whatever the layout of `x`: there the phases are moved in rows
    and all depthwise kernels are at their best. Under autocast it is computed in autocast's dtype, as convolutions are.

    Args:
        x: N×C×H×W, contiguous or channels-last.
        depthwise: Weight C×1×k×k and bias C.
        dilated: Weight C×1×K×K and bias C.
        pointwise: Weight D×C×1×1 and bias D.
        dilation: Dilation of the second convolution.

    Returns:
        N×D×H×W in the layout of `x`.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, depthwise, dilated, pointwise = (
            x.to(dtype),
            _cast(depthwise, dtype),
            _cast(dilated, dtype),
            _cast(pointwise, dtype),
        )
    with torch.autocast(device, enabled=False):
        return _lka_map(x, depthwise, dilated, pointwise, dilation)


def _cast(convolution: Convolution, dtype: torch.dtype) -> Convolution:
    weight, bias = convolution
    return weight.to(dtype), bias.to(dtype)


def _lka_map(x: Tensor, depthwise: Convolution, dilated: Convolution, pointwise: Convolution, dilation: int) -> Tensor:
    contiguous = x.is_contiguous()
    y = depthwise_conv2d(x.contiguous(memory_format=torch.channels_last), *depthwise)
    y = depthwise_conv2d(split_phases(y, dilation), *dilated)
    y = join_phases(y, dilation, (x.shape[2], x.shape[3]))
    if contiguous:
        return pointwise_to_contiguous(y, *pointwise)
    weight, bias = pointwise
    return F.linear(y.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
