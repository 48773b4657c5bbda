"""Convolutional Block Attention Module.

Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018, arXiv:1807.06521, equations 1–3: a gate of
channels, then one of positions.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from awb.attention.gate import Gate, GatesInARow
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import hidden_width, require_odd
from awb.attention.precision import as_float32, like_weights, map_max, map_mean, without_autocast
from awb.attention.registry import register_attention


class ChannelGate(Gate):
    """CBAM's gate of channels, σ(MLP(mean) + MLP(max)) with one MLP for both."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = hidden_width(channels, reduction)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        with without_autocast(x):
            return {"channel": (self._logits(map_mean(x)) + self._logits(map_max(x))).sigmoid()}

    def _logits(self, pooled: Tensor) -> Tensor:
        logits: Tensor = self.expand(self.reduce(like_weights(pooled, self.reduce)).relu())
        return logits


class SpatialGate(Gate):
    """CBAM's gate of positions, σ(norm(convolution of the maximum and the mean over channels))."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        planes = torch.cat([as_float32(x.amax(1, keepdim=True)), as_float32(x).mean(1, keepdim=True)], dim=1)
        with without_autocast(x):
            return {"spatial": self.norm(self.conv(like_weights(planes, self.conv))).sigmoid()}


@register_attention(
    "cbam",
    AttentionInfo(
        "Convolutional Block Attention Module",
        Paper(
            title="CBAM: Convolutional Block Attention Module",
            authors="Woo, Sanghyun and Park, Jongchan and Lee, Joon-Young and Kweon, In So",
            venue="Proceedings of the European Conference on Computer Vision (ECCV)",
            year=2018,
            arxiv="1807.06521",
        ),
        gates=("channel", "spatial"),
        parameters="2*C*max(1, C//16) + max(1, C//16) + C + 100",
        source="Jongchan/attention-module, MIT",
        half="pooled planes and logits",
        notes="timm_cbam has no biases, swaps the two planes of the 7×7 convolution and another momentum: official "
        "weights fit it by shape, and are wrong. The official MLP is empty under 16 channels; here its width is 1.",
    ),
)
class CBAM(GatesInARow):
    """Convolutional Block Attention Module: x₁ = x · channel gate(x), then x₁ · spatial gate(x₁).

    Args:
        channels: Number of channels of the N×C×H×W maps.
        reduction: Ratio r of channels and the MLP's hidden width; the width is at least 1.
        kernel_size: Side of the spatial gate's kernel.

    Raises:
        AWBError: The ratio is not positive, or the kernel size is even.
    """

    def __init__(self, channels: int, reduction: int = 16, kernel_size: int = 7) -> None:
        super().__init__()
        require_odd("kernel_size", kernel_size, "the map keeps its size")
        self.channel = ChannelGate(channels, reduction)
        self.spatial = SpatialGate(kernel_size)
