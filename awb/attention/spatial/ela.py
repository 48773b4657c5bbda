"""Efficient local attention.

Xu and Wan, "ELA: Efficient Local Attention for Deep Convolutional Neural Networks", 2024, arXiv:2403.01123, equations
4–8: coordinate attention with depthwise convolutions and group norm in place of a bottleneck and batch norm.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_multiple, require_odd
from awb.attention.precision import as_float32, like_weights, without_autocast
from awb.attention.registry import register_attention


@register_attention(
    "ela",
    AttentionInfo(
        "Efficient local attention",
        Paper(
            title="ELA: Efficient Local Attention for Deep Convolutional Neural Networks",
            authors="Xu, Wei and Wan, Yi",
            venue="",
            year=2024,
            arxiv="2403.01123",
        ),
        gates=("height", "width"),
        parameters="18*C",
        channel_multiple=16,
        min_channels=16,
        half="means and logits",
        notes="No official code: by the paper's equations alone, with layers of its own for each axis. timm_ela adds a "
        "SiLU, and normalises all channels as one group.",
    ),
)
class EfficientLocalAttention(Gate):
    """Efficient local attention, x · σ(norm(conv_h(row means))) · σ(norm(conv_w(column means))).

    Args:
        channels: Number of channels of the N×C×H×W maps, a multiple of `num_groups`.
        kernel_size: Number of neighbouring rows or columns, 7 or 5 in the paper.
        num_groups: Groups of channels that are normalised together.

    Raises:
        AWBError: The kernel size is even, or the groups do not divide the channels.
    """

    def __init__(self, channels: int, kernel_size: int = 7, num_groups: int = 16) -> None:
        super().__init__()
        require_odd("kernel_size", kernel_size, "the axes keep their length")
        require_multiple(channels, num_groups, f"ela with num_groups={num_groups}")
        self.height = _axis(channels, kernel_size, num_groups)
        self.width = _axis(channels, kernel_size, num_groups)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        with without_autocast(x):
            full = as_float32(x)
            rows, columns = like_weights(full.mean(dim=3), self.height), like_weights(full.mean(dim=2), self.width)
            return {
                "height": self.height(rows).sigmoid().unsqueeze(3),
                "width": self.width(columns).sigmoid().unsqueeze(2),
            }


def _axis(channels: int, kernel_size: int, num_groups: int) -> nn.Sequential:
    padding = kernel_size // 2
    convolution = nn.Conv1d(channels, channels, kernel_size, padding=padding, groups=channels, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(num_groups, channels))
