"""Multidimensional collaborative attention.

Yu et al., "MCA: Multidimensional collaborative attention in deep convolutional neural networks for image
recognition", Engineering Applications of Artificial Intelligence 126 (2023) 107079: a gate along each of the three
axes, and their mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.precision import as_float32, like_weights, without_autocast
from awb.attention.registry import register_attention
from awb.attention.statistics import variance


class AxisGate(nn.Module):
    """Gate along one axis, σ(convolution of a learned mix of the mean and standard deviation over the others)."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(2))
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor, over: tuple[int, int]) -> Tensor:
        """Gate, N×C×1×1, N×1×H×1 or N×1×1×W, by the dimensions `over` which is pooled."""
        full = as_float32(x)
        mean, std = full.mean(dim=over, keepdim=True), variance(full, over).clamp(min=1e-24).sqrt()
        weight = as_float32(self.weight).sigmoid()
        mixed = 0.5 * (mean + std) + weight[0] * mean + weight[1] * std
        logits = self.conv(like_weights(mixed.flatten(1).unsqueeze(1), self.conv))
        gate: Tensor = logits.sigmoid().view(mixed.shape)
        return gate


@register_attention(
    "mca",
    AttentionInfo(
        "Multidimensional collaborative attention",
        Paper(
            title="MCA: Multidimensional collaborative attention in deep convolutional neural networks for image "
            "recognition",
            authors="Yu, Yang and Zhang, Yi and Cheng, Zeyu and Song, Zhe and Tang, Chengkai",
            venue="Engineering Applications of Artificial Intelligence",
            year=2023,
            doi="10.1016/j.engappai.2023.107079",
        ),
        gates=("element",),
        parameters="12 + max(1, (round(abs(log2(C) - 1) / 1.5) + 1)//2*2 - 1)",
        source="ndsclark/MCANet, GPL-3.0",
        half="statistics and logits",
        notes="Under 6 channels the official kernel along the channels is 1 or less, and does not build; here it is 1.",
    ),
)
class MultidimensionalCollaborativeAttention(Gate):
    """Multidimensional collaborative attention, x · (gate of channels + of rows + of columns) / 3.

    Args:
        channels: Number of channels of the N×C×H×W maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.h_cw = AxisGate(3)
        self.w_hc = AxisGate(3)
        self.c_hw = AxisGate(channel_kernel(channels))

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        with without_autocast(x):
            rows, columns = self.h_cw(x, over=(1, 3)), self.w_hc(x, over=(1, 2))
            return {"element": (self.c_hw(x, over=(2, 3)) + rows + columns) / 3}


def channel_kernel(channels: int) -> int:
    """Kernel size along C channels: |log₂C − 1| / 1.5, rounded, less 1 if even, at least 1."""
    size = round(abs(math.log2(channels) - 1) / 1.5)
    return max(1, size if size % 2 else size - 1)
