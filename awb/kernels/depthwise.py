"""Depthwise convolution of channels-last maps, with a weight gradient as fast as the rest.

oneDNN's kernel for the weight gradient of a depthwise convolution takes kernels up to three wide, on maps at least as
high as the kernel; what is wider falls to a reference loop, 3 to 15 times slower. A kernel's columns do not interact
in its weight gradient, so it is computed three columns at a time, from the input shifted to where they stand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

_COLUMNS = 3  # the widest kernel that oneDNN's depthwise weight gradient takes


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve a map depthwise with stride 1, keeping its size.

    Args:
        x: N×C×H×W, channels-last.
        weight: C×1×kH×kW, both odd.
        bias: C.

    Returns:
        N×C×H×W, channels-last.
    """
    y: Tensor = _Depthwise.apply(x, _reached(weight, x), bias)
    return y


def _reached(weight: Tensor, x: Tensor) -> Tensor:
    """Taps of the kernel that reach the map from some position; the others meet padding only."""
    spans = [(min(k // 2, size - 1), k // 2) for k, size in zip(weight.shape[2:], x.shape[2:], strict=True)]
    (up, top), (left, start) = spans
    return weight[..., top - up : top + up + 1, start - left : start + left + 1]


class _Depthwise(Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return _same_conv2d(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x, of_weight, of_bias = ctx.needs_input_grad
        # the weight's first: it needs the most memory, and the input's is as large as a map
        weight_gradient = _weight_gradient(x, weight, gradient) if of_weight else None
        bias_gradient = gradient.sum((0, 2, 3)) if of_bias else None
        return _same_conv2d(gradient, weight.flip(2, 3)) if of_x else None, weight_gradient, bias_gradient


def _same_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    height, width = weight.shape[2:]
    return F.conv2d(x, weight, bias, padding=(height // 2, width // 2), groups=x.shape[1])


def _weight_gradient(x: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
    parts = [_columns_gradient(x, weight, gradient, column) for column in range(0, weight.shape[3], _COLUMNS)]
    return torch.cat(parts, dim=3)


def _columns_gradient(x: Tensor, weight: Tensor, gradient: Tensor, column: int) -> Tensor:
    """Weight gradient of three columns of the kernel, from `column` on."""
    height, width = weight.shape[2:]
    part = weight[..., column : column + _COLUMNS]
    left = width // 2 - column  # negative: columns that these taps never meet
    # zero rows by hand only until the map is as high as the kernel: what the convolution pads costs nothing
    rows = max(0, (height - x.shape[2] + 1) // 2)
    shifted = F.pad(x, (left, part.shape[3] - 1 - left, rows, rows))
    padding, mask = [height // 2 - rows, 0], [False, True, False]
    of_part: Tensor = torch.ops.aten.convolution_backward(
        gradient, shifted, part, None, [1, 1], padding, [1, 1], False, [0, 0], x.shape[1], mask
    )[1]
    return of_part
