"""Effective squeeze-and-excitation.

Lee and Park, "CenterMask: Real-Time Anchor-Free Instance Segmentation", CVPR 2020, arXiv:1911.06667, section 3.3: SE
with one layer of full width, so that no channel is lost in a bottleneck.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.precision import like_weights, map_mean, without_autocast
from awb.attention.registry import register_attention


@register_attention(
    "ese",
    AttentionInfo(
        "Effective squeeze-and-excitation",
        Paper(
            title="CenterMask: Real-Time Anchor-Free Instance Segmentation",
            authors="Lee, Youngwan and Park, Jongyoul",
            venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
            year=2020,
            arxiv="1911.06667",
        ),
        gates=("channel",),
        parameters="C*C + C",
        source="youngwanLEE/vovnet-detectron2, Apache-2.0",
        half="means and logits",
        notes="Its hard sigmoid is 1 only where it is saturated, and then has no gradient.",
    ),
)
class EffectiveSqueezeExcitation(Gate):
    """Effective squeeze-and-excitation, x · hard sigmoid(W mean(x) + b), hard sigmoid(z) = min(max(z + 3, 0), 6) / 6.

    Args:
        channels: Number of channels of the N×C×H×W maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        with without_autocast(x):
            return {"channel": F.relu6(self.fc(like_weights(map_mean(x), self.fc)) + 3) / 6}
