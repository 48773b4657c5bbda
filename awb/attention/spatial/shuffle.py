"""Shuffle attention.

Zhang and Yang, "SA-Net: Shuffle Attention for Deep Convolutional Neural Networks", ICASSP 2021, arXiv:2102.00240,
equations 1–5: in each group of channels one half is gated by its means, the other by its normalised map; then channels
are shuffled.
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
    "shuffle",
    AttentionInfo(
        "Shuffle attention",
        Paper(
            title="SA-Net: Shuffle Attention for Deep Convolutional Neural Networks",
            authors="Zhang, Qing-Long and Yang, Yu-Bin",
            venue="IEEE International Conference on Acoustics, Speech and Signal Processing (ICASSP)",
            year=2021,
            arxiv="2102.00240",
        ),
        gates=("element",),
        parameters="6*(C//16)",
        source="wofmanaf/SA-Net, no licence",
        channel_multiple=16,
        min_channels=16,
        half="statistics and logits",
        notes="The shuffle permutes channels even where all gates are open, which is worse than noise to the "
        "pretrained stage that follows: here it is left out by default, and shuffle=True adds it. Officially "
        "64 groups; here 8.",
    ),
)
class ShuffleAttention(Gate):
    """Shuffle attention: half of each group's channels · σ(w·mean + b), the other half · σ(w·group norm + b).

    Args:
        channels: Number of channels of the N×C×H×W maps, a multiple of 2 · `groups`.
        groups: Groups of channels, which share their parameters.
        shuffle: Exchange the channels of the two halves of the map afterwards, as the paper does.

    Raises:
        AWBError: Twice the groups do not divide the channels.
    """

    def __init__(self, channels: int, groups: int = 8, shuffle: bool = False) -> None:
        super().__init__()
        require_multiple(channels, 2 * groups, f"shuffle with groups={groups}, two halves each,")
        self.groups, self.shuffle = groups, shuffle
        half = channels // (2 * groups)
        self.cweight = nn.Parameter(torch.zeros(1, half, 1, 1))
        self.cbias = nn.Parameter(torch.ones(1, half, 1, 1))
        self.sweight = nn.Parameter(torch.zeros(1, half, 1, 1))
        self.sbias = nn.Parameter(torch.ones(1, half, 1, 1))
        self.gn = nn.GroupNorm(half, half)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        n, channels, height, width = x.shape
        groups = as_float32(x).reshape(n * self.groups, channels // self.groups, height, width)
        first, second = groups.chunk(2, dim=1)
        with without_autocast(x):
            means = as_float32(self.cweight) * first.mean(dim=(2, 3), keepdim=True) + as_float32(self.cbias)
            normalised = as_float32(self.gn(like_weights(second, self.gn)))
            places = as_float32(self.sweight) * normalised + as_float32(self.sbias)
            gate = torch.cat([means.sigmoid().expand_as(first), places.sigmoid()], dim=1)
            return {"element": gate.reshape(x.shape)}

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return nn.functional.channel_shuffle(y, 2) if self.shuffle else y
