"""Global attention mechanism.

Liu et al., "Global Attention Mechanism: Retain Information to Enhance Channel-Spatial Interactions", 2021,
arXiv:2112.05561, equations 1–2: a gate of channels at every position, then one of positions for every channel.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import hidden_width, require_multiple
from awb.attention.precision import as_float32, like_weights, without_autocast
from awb.attention.registry import register_attention


@register_attention(
    "gam",
    AttentionInfo(
        "Global attention mechanism",
        Paper(
            title="Global Attention Mechanism: Retain Information to Enhance Channel-Spatial Interactions",
            authors="Liu, Yichao and Shao, Zongru and Hoffmann, Nico",
            venue="",
            year=2021,
            arxiv="2112.05561",
        ),
        gates=("element",),
        parameters="2*C*max(1, C//4) + max(1, C//4) + C + 98*C*max(1, C//4) + 3*max(1, C//4) + 3*C",
        half="logits",
        notes="No official code, and ports disagree: dense 7×7 convolutions, which cost more than most backbones' own, "
        "as here, or grouped=True, by groups of 4 and with channels shuffled, a quarter of the parameters. Both gates "
        "are full maps, and shown as their product.",
    ),
)
class GlobalAttention(Gate):
    """Global attention mechanism, x₁ = x · channel gate(x), then x₁ · spatial gate(x₁).

    Args:
        channels: Number of channels of the N×C×H×W maps.
        rate: Ratio of channels and hidden width; the width is at least 1.
        grouped: Split the 7×7 convolutions into `rate` groups, and shuffle the channels of their gate between them.
        channel_sigmoid: Whether a sigmoid follows the channel gate's layers. The paper's figure has one; ports with
            groups have none.

    Raises:
        AWBError: The groups do not divide the channels and the hidden width.
    """

    def __init__(self, channels: int, rate: int = 4, grouped: bool = False, channel_sigmoid: bool = True) -> None:
        super().__init__()
        hidden = hidden_width(channels, rate)
        if grouped:
            require_multiple(channels, rate * rate, f"gam with grouped=True, rate={rate},")
        self.groups, self.channel_sigmoid = rate if grouped else 1, channel_sigmoid
        self.channel = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1))
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, hidden, 7, padding=3, groups=self.groups),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 7, padding=3, groups=self.groups),
            nn.BatchNorm2d(channels),
        )

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        with without_autocast(x):
            full = like_weights(as_float32(x), self.channel)
            channel = self.channel(full)
            if self.channel_sigmoid:
                channel = channel.sigmoid()
            spatial = self.spatial(like_weights(as_float32(full * channel), self.spatial)).sigmoid()
            if self.groups > 1:
                spatial = nn.functional.channel_shuffle(spatial, self.groups)
            return {"element": channel * spatial}
