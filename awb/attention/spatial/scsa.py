"""Spatial and channel synergistic attention.

Si et al., "SCSA: Exploring the Synergistic Effects Between Spatial and Channel Attention", Neurocomputing 634 (2025),
arXiv:2407.05128, equations 1–9: gates of rows and columns by convolutions of four lengths, then channels that attend to
each other.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awb.attention.gate import Gate, GatesInARow
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_multiple
from awb.attention.precision import as_float32, like_weights, without_autocast
from awb.attention.registry import register_attention
from awb.errors import AWBError

_KERNELS = (3, 5, 7, 9)  # of the four quarters of the channels


class AxesGate(Gate):
    """SCSA's gates of rows and columns, whose convolutions both axes share."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter = channels // len(_KERNELS)
        self.convs = nn.ModuleList(
            nn.Conv1d(quarter, quarter, size, padding=size // 2, groups=quarter) for size in _KERNELS
        )
        self.norm_h = nn.GroupNorm(len(_KERNELS), channels)
        self.norm_w = nn.GroupNorm(len(_KERNELS), channels)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        with without_autocast(x):
            full = as_float32(x)
            return {
                "height": self.norm_h(self._convolved(full.mean(dim=3))).sigmoid().unsqueeze(3),
                "width": self.norm_w(self._convolved(full.mean(dim=2))).sigmoid().unsqueeze(2),
            }

    def _convolved(self, means: Tensor) -> Tensor:
        quarters = like_weights(means, self.convs).chunk(len(_KERNELS), dim=1)
        return torch.cat([conv(part) for conv, part in zip(self.convs, quarters, strict=True)], dim=1)


class ChannelsGate(Gate):
    """SCSA's gate of channels: in each head they attend to each other over the averaged map."""

    def __init__(self, channels: int, head_num: int, window_size: int) -> None:
        super().__init__()
        self.head_num, self.window_size = head_num, window_size
        self.norm = nn.GroupNorm(1, channels)
        self.q, self.k, self.v = (nn.Conv2d(channels, channels, 1, groups=channels, bias=False) for _ in range(3))

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        n, channels = x.shape[:2]
        with without_autocast(x):
            y = self.norm(like_weights(F.avg_pool2d(as_float32(x), self.window_size), self.norm))
            parts = (as_float32(layer(y)) for layer in (self.q, self.k, self.v))
            q, k, v = (part.reshape(n, self.head_num, -1, y[0, 0].numel()) for part in parts)
            shares = (q @ k.transpose(2, 3) * (channels // self.head_num) ** -0.5).softmax(dim=3)
            return {"channel": (shares @ v).mean(dim=3).reshape(n, channels, 1, 1).sigmoid()}


@register_attention(
    "scsa",
    AttentionInfo(
        "Spatial and channel synergistic attention",
        Paper(
            title="SCSA: Exploring the Synergistic Effects Between Spatial and Channel Attention",
            authors="Si, Yunzhong and Xu, Huiying and Zhu, Xinzhong and Zhang, Wenhao and Dong, Yao and "
            "Chen, Yuxing and Li, Hongbo",
            venue="Neurocomputing",
            year=2025,
            arxiv="2407.05128",
        ),
        gates=("height", "width", "channel"),
        parameters="16*C",
        source="HZAI-ZJNU/SCSA, Apache-2.0",
        channel_multiple=8,
        min_channels=8,
        min_map=7,
        half="means and logits",
        notes="The gate of channels sees whole windows only: of 12×10 positions the last rows and columns are not "
        "seen.",
    ),
)
class SpatialChannelSynergisticAttention(GatesInARow):
    """Spatial and channel synergistic attention: x₁ = x · row gate · column gate, then x₁ · channel gate(x₁).

    Args:
        channels: Number of channels of the N×C×H×W maps, a multiple of 4 and of `head_num`.
        head_num: Heads of the channels' attention.
        window_size: Side of the windows that are averaged for it, and the smallest height and width of the map.

    Raises:
        AWBError: 4 or the heads do not divide the channels; in forward, a map that is smaller than a window.
    """

    def __init__(self, channels: int, head_num: int = 8, window_size: int = 7) -> None:
        super().__init__()
        for multiple in (len(_KERNELS), head_num):
            require_multiple(channels, multiple, f"scsa with head_num={head_num}")
        self.window_size = window_size
        self.axes = AxesGate(channels)
        self.channels = ChannelsGate(channels, head_num, window_size)

    def forward(self, x: Tensor) -> Tensor:
        self._require_window(x)
        return super().forward(x)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        self._require_window(x)
        return super().gates(x)

    def _require_window(self, x: Tensor) -> None:
        height, width = x.shape[2:]
        if min(height, width) < self.window_size:
            raise AWBError(
                f"scsa needs maps of at least {self.window_size}×{self.window_size}, not {height}×{width}: choose an "
                f"earlier stage, or window_size={min(height, width)}"
            )
