"""Multi-scale channel attention.

Dai et al., "Attentional Feature Fusion", WACV 2021, arXiv:2009.14082, equations 1–3: a bottleneck at every position and
one of the means. Its fusions AFF and iAFF take two inputs, and fit no single site.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import hidden_width, require_batch
from awb.attention.precision import as_float32, like_weights, map_mean, without_autocast
from awb.attention.registry import register_attention


@register_attention(
    "ms_cam",
    AttentionInfo(
        "Multi-scale channel attention",
        Paper(
            title="Attentional Feature Fusion",
            authors="Dai, Yimian and Gieseke, Fabian and Oehmcke, Stefan and Wu, Yiquan and Barnard, Kobus",
            venue="Proceedings of the IEEE/CVF Winter Conference on Applications of Computer Vision (WACV)",
            year=2021,
            arxiv="2009.14082",
        ),
        gates=("element",),
        parameters="2*(2*C*max(1, C//4) + 3*max(1, C//4) + 3*C)",
        source="YimianDai/open-aff, no licence",
        batch_of_one=False,
        half="means and logits",
        notes="Batch norm over one value per channel and image: it trains from batch size 2 on.",
    ),
)
class MultiScaleChannelAttention(Gate):
    """Multi-scale channel attention, x · σ(L(x) + G(mean(x))), L and G bottlenecks with batch norm.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        r: Ratio of channels and the bottlenecks' width.
    """

    def __init__(self, channels: int, r: int = 4) -> None:
        super().__init__()
        self.local_att = _bottleneck(channels, hidden_width(channels, r))
        self.global_att = _bottleneck(channels, hidden_width(channels, r))

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        require_batch(self, x, "ms_cam")
        with without_autocast(x):
            near = self.local_att(like_weights(as_float32(x), self.local_att))
            return {"element": (near + self.global_att(like_weights(map_mean(x), self.global_att))).sigmoid()}


def _bottleneck(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, channels, 1),
        nn.BatchNorm2d(channels),
    )
