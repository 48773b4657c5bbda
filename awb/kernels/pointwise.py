"""A 1×1 convolution that reads channels-last maps and writes contiguous ones.

A matrix product can transpose what it reads at no cost; a 1×1 convolution of PyTorch's keeps the layout, and the copy
to the other one would cost up to a quarter of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def pointwise_to_contiguous(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve a map 1×1, from channels-last to contiguous.

    Args:
        x: N×C×H×W, channels-last.
        weight: D×C×1×1.
        bias: D.

    Returns:
        N×D×H×W, contiguous.
    """
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
    y: Tensor = _Pointwise.apply(rows, weight.flatten(1), bias)
    return y.view(batch, -1, height, width)


class _Pointwise(Function):
    """N×L×C rows to N×D×L; PyTorch's own gradient would store N weight gradients before it sums them."""

    @staticmethod
    def forward(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.baddbmm(bias.view(1, -1, 1), weight.expand(len(rows), -1, -1), rows.mT)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        gradient_rows = gradient.mT.flatten(0, 1)  # one copy for both products
        return (
            (gradient_rows @ weight).view(rows.shape) if of_rows else None,
            gradient_rows.mT @ rows.flatten(0, 1) if of_weight else None,
            gradient.sum((0, 2)) if of_bias else None,
        )
