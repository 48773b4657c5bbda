"""Spatial group-wise enhance.

Li et al., "Spatial Group-wise Enhance: Improving Semantic Feature Learning in Convolutional Networks", 2019,
arXiv:1905.09646, equations 1–5: in each group of channels, a position counts by its likeness to the group's mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_multiple
from awb.attention.precision import as_float32
from awb.attention.registry import register_attention
from awb.attention.statistics import variance


@register_attention(
    "sge",
    AttentionInfo(
        "Spatial group-wise enhance",
        Paper(
            title="Spatial Group-wise Enhance: Improving Semantic Feature Learning in Convolutional Networks",
            authors="Li, Xiang and Hu, Xiaolin and Yang, Jian",
            venue="",
            year=2019,
            arxiv="1905.09646",
        ),
        gates=("element",),
        parameters="16",
        source="implus/PytorchInsight, no licence",
        channel_multiple=8,
        min_channels=8,
        half="likeness and logits",
        notes="The paper has 64 groups, for ResNet-50's widths; ports 8, as here, so that most widths can be split.",
    ),
)
class SpatialGroupEnhance(Gate):
    """Spatial group-wise enhance, x · σ(w·t + b), t the normalised likeness of a position to its group's mean.

    Args:
        channels: Number of channels of the N×C×H×W maps, a multiple of `groups`.
        groups: Groups of channels; each has a gate per position.

    Raises:
        AWBError: The groups do not divide the channels.
    """

    def __init__(self, channels: int, groups: int = 8) -> None:
        super().__init__()
        require_multiple(channels, groups, f"sge with groups={groups}")
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(1, groups, 1, 1))
        self.bias = nn.Parameter(torch.ones(1, groups, 1, 1))

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        n, channels, height, width = x.shape
        each = as_float32(x).reshape(n, self.groups, channels // self.groups, height, width)
        alike = (each * each.mean(dim=(3, 4), keepdim=True)).sum(dim=2)
        t = (alike - alike.mean(dim=(2, 3), keepdim=True)) / (variance(alike, (2, 3)).clamp(min=1e-24).sqrt() + 1e-5)
        gate = (as_float32(self.weight) * t + as_float32(self.bias)).sigmoid()
        return {"element": gate.repeat_interleave(channels // self.groups, dim=1)}
