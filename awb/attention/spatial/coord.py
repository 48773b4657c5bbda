"""Coordinate attention.

Hou et al., "Coordinate Attention for Efficient Mobile Network Design", CVPR 2021, arXiv:2103.02907, equations 4–9: a
gate of rows and one of columns, from the means along the other axis.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import hidden_width
from awb.attention.precision import as_float32, like_weights, without_autocast
from awb.attention.registry import register_attention


@register_attention(
    "coord",
    AttentionInfo(
        "Coordinate attention",
        Paper(
            title="Coordinate Attention for Efficient Mobile Network Design",
            authors="Hou, Qibin and Zhou, Daquan and Feng, Jiashi",
            venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
            year=2021,
            arxiv="2103.02907",
        ),
        gates=("height", "width"),
        parameters="3*C*max(8, C//32) + 3*max(8, C//32) + 2*C",
        source="houqb/CoordAttention, MIT",
        half="means and logits",
        notes="timm_coord has no biases, and other widths.",
    ),
)
class CoordinateAttention(Gate):
    """Coordinate attention, x · σ(F_h(f_h)) · σ(F_w(f_w)), f the row and column means after one shared layer.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        reduction: Ratio of channels and hidden width; the width is at least 8.

    Raises:
        AWBError: The reduction is not positive.
    """

    def __init__(self, channels: int, reduction: int = 32) -> None:
        super().__init__()
        hidden = hidden_width(channels, reduction, smallest=8)
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv_h = nn.Conv2d(hidden, channels, 1)
        self.conv_w = nn.Conv2d(hidden, channels, 1)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        height, width = x.shape[2:]
        with without_autocast(x):
            full = as_float32(x)
            rows, columns = full.mean(dim=3, keepdim=True), full.mean(dim=2, keepdim=True).transpose(2, 3)
            means = like_weights(torch.cat([rows, columns], dim=2), self.conv1)
            rows, columns = F.hardswish(self.bn1(self.conv1(means))).split([height, width], dim=2)
            return {
                "height": self.conv_h(rows).sigmoid(),
                "width": self.conv_w(columns.transpose(2, 3)).sigmoid(),
            }
