"""Squeeze-and-Excitation.

Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, arXiv:1709.01507, equations 2–4: the means of all channels pass
a bottleneck of two layers, whose sigmoid scales each channel.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import hidden_width
from awb.attention.precision import like_weights, map_mean, without_autocast
from awb.attention.registry import register_attention


@register_attention(
    "se",
    AttentionInfo(
        "Squeeze-and-Excitation",
        Paper(
            title="Squeeze-and-Excitation Networks",
            authors="Hu, Jie and Shen, Li and Sun, Gang",
            venue="Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
            year=2018,
            arxiv="1709.01507",
        ),
        gates=("channel",),
        parameters="2*C*max(1, C//16) + max(1, C//16) + C",
        source="hujie-frank/SENet (Caffe), Apache-2.0; values by a port without biases",
        half="means and logits",
        notes="Many ports have no biases: bias=False. timm_se rounds the hidden width up to a multiple of 8.",
    ),
)
class SqueezeExcitation(Gate):
    """Squeeze-and-Excitation, x · σ(W₂ ReLU(W₁ mean(x))).

    Args:
        channels: Number of channels of the N×C×H×W maps.
        reduction: Ratio r of channels and hidden width; the width is at least 1.
        bias: Whether the two layers have biases, as in the official network definition.
    """

    def __init__(self, channels: int, reduction: int = 16, bias: bool = True) -> None:
        super().__init__()
        hidden = hidden_width(channels, reduction)
        self.reduce = nn.Conv2d(channels, hidden, 1, bias=bias)
        self.expand = nn.Conv2d(hidden, channels, 1, bias=bias)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        with without_autocast(x):
            hidden = self.reduce(like_weights(map_mean(x), self.reduce)).relu()
            return {"channel": self.expand(hidden).sigmoid()}
