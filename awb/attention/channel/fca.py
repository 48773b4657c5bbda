"""Frequency channel attention.

Qin et al., "FcaNet: Frequency Channel Attention Networks", ICCV 2021, arXiv:2012.11879, equations 4–9: SE whose
channels are reduced by components of the discrete cosine transform in place of the mean, which is the lowest of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import hidden_width, require_multiple
from awb.attention.precision import as_float32, like_weights, without_autocast
from awb.attention.registry import register_attention
from awb.errors import AWBError

# the 16 frequencies (rows, columns) that did best on ImageNet, of a 7×7 grid; each serves a sixteenth of the channels
_FREQUENCIES = (
    (0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0),
    (5, 0), (1, 6), (3, 0), (0, 4), (0, 6), (0, 3), (3, 5), (2, 2),
)  # fmt: skip


@register_attention(
    "fca",
    AttentionInfo(
        "Frequency channel attention",
        Paper(
            title="FcaNet: Frequency Channel Attention Networks",
            authors="Qin, Zequn and Zhang, Pengyi and Wu, Fei and Li, Xi",
            venue="Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
            year=2021,
            arxiv="2012.11879",
        ),
        gates=("channel",),
        parameters="2*C*max(1, C//16)",
        source="cfzd/FcaNet, MIT",
        channel_multiple=16,
        min_channels=16,
        half="frequencies and logits",
        notes="Maps of another size are averaged to size×size first. The official filters are stored as float32.",
    ),
)
class FrequencyChannelAttention(Gate):
    """Frequency channel attention, x · σ(W₂ ReLU(W₁ z)), z each channel's sum over the map times a cosine filter.

    Args:
        channels: Number of channels of the N×C×H×W maps, a multiple of 16.
        size: Height and width S of the filters, a multiple of 7; ResNet's stages have 56, 28, 14 and 7 at 224 pixels.
        reduction: Ratio of channels and hidden width.

    Raises:
        AWBError: The channels are no multiple of 16, or the size none of 7.
    """

    filters: Tensor

    def __init__(self, channels: int, size: int = 7, reduction: int = 16) -> None:
        super().__init__()
        require_multiple(channels, len(_FREQUENCIES), "fca, with its 16 frequencies,")
        if size < 7 or size % 7:
            near = max(7, size // 7 * 7)
            raise AWBError(f"size={size}: expected a multiple of 7, the grid of fca's frequencies; try {near}")
        self.size = size
        self.register_buffer("filters", _filters(channels, size), persistent=False)
        hidden = hidden_width(channels, reduction)
        self.reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.expand = nn.Conv2d(hidden, channels, 1, bias=False)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        with without_autocast(x):
            full = as_float32(x)
            if tuple(x.shape[2:]) != (self.size, self.size):
                full = F.adaptive_avg_pool2d(full, (self.size, self.size))
            z = (full * self.filters.to(full.dtype)).sum(dim=(2, 3), keepdim=True)
            return {"channel": self.expand(self.reduce(like_weights(z, self.reduce)).relu()).sigmoid()}


def _filters(channels: int, size: int) -> Tensor:
    """Cosine filter of each channel, C×S×S."""
    each = [torch.outer(_cosine(u * size // 7, size), _cosine(v * size // 7, size)) for u, v in _FREQUENCIES]
    return torch.stack(each).repeat_interleave(channels // len(each), dim=0)


def _cosine(frequency: int, size: int) -> Tensor:
    """One function of the orthonormal discrete cosine transform (DCT-II)."""
    positions = torch.arange(size, dtype=torch.float64) + 0.5
    wave = torch.cos(math.pi * frequency * positions / size) / math.sqrt(size)
    return wave if frequency == 0 else wave * math.sqrt(2)
