"""Efficient multi-scale attention.

Ouyang et al., "Efficient Multi-Scale Attention Module with Cross-Spatial Learning", ICASSP 2023, arXiv:2305.13563,
section 2: in each group of channels, coordinate attention and a 3×3 convolution weigh each other's channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_multiple
from awb.attention.precision import as_float32, like_weights, without_autocast
from awb.attention.registry import register_attention


@register_attention(
    "ema",
    AttentionInfo(
        "Efficient multi-scale attention",
        Paper(
            title="Efficient Multi-Scale Attention Module with Cross-Spatial Learning",
            authors="Ouyang, Daliang and He, Su and Zhang, Guozhong and Luo, Mingzhu and Guo, Huaiyong and "
            "Zhan, Jian and Huang, Zhijie",
            venue="IEEE International Conference on Acoustics, Speech and Signal Processing (ICASSP)",
            year=2023,
            arxiv="2305.13563",
        ),
        gates=("element",),
        parameters="10*(C//8)**2 + 4*(C//8)",
        source="YOLOonMe/EMA-attention-module, no licence",
        channel_multiple=8,
        min_channels=8,
        half="means and logits",
        notes="Officially 32 groups; ports have 8, as here, so that most widths can be split. With as many groups as "
        "channels both softmaxes are 1.",
    ),
)
class EfficientMultiScaleAttention(Gate):
    """Efficient multi-scale attention, x · σ(softmax(mean a)·b + softmax(mean b)·a) in each group of channels.

    Args:
        channels: Number of channels of the N×C×H×W maps, a multiple of `groups`.
        groups: Groups of channels, which share their parameters; each has a gate per position.

    Raises:
        AWBError: The groups do not divide the channels.
    """

    def __init__(self, channels: int, groups: int = 8) -> None:
        super().__init__()
        require_multiple(channels, groups, f"ema with groups={groups}")
        self.groups = groups
        width = channels // groups
        self.gn = nn.GroupNorm(width, width)
        self.conv1x1 = nn.Conv2d(width, width, 1)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        n, channels, height, width = x.shape
        with without_autocast(x):
            group = as_float32(x).reshape(n * self.groups, channels // self.groups, height, width)
            group = like_weights(group, self.conv1x1)
            a = self._by_axes(group)
            b = self.conv3x3(group)
            gate = (_mixed(a, b) + _mixed(b, a)).sigmoid().view(n, self.groups, height, width)
            return {"element": gate.repeat_interleave(channels // self.groups, dim=1)}

    def _by_axes(self, group: Tensor) -> Tensor:
        """The group gated by its row and column means, normalised per channel."""
        height, width = group.shape[2:]
        means = torch.cat([group.mean(3, keepdim=True), group.mean(2, keepdim=True).transpose(2, 3)], dim=2)
        rows, columns = self.conv1x1(means).split([height, width], dim=2)
        gated: Tensor = self.gn(group * rows.sigmoid() * columns.transpose(2, 3).sigmoid())
        return gated


def _mixed(weighing: Tensor, weighed: Tensor) -> Tensor:
    """Mean of one map's channels, N×H×W, by the softmax of the other's means."""
    weights = as_float32(weighing).mean(dim=(2, 3)).softmax(dim=1)
    return torch.einsum("nc,nchw->nhw", weights, as_float32(weighed))
