"""Efficient channel attention.

Wang et al., "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks", CVPR 2020, arXiv:1910.03151,
equations 5–9: each channel is gated by a convolution over its neighbours' means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_odd
from awb.attention.precision import like_weights, map_mean, without_autocast
from awb.attention.registry import register_attention


def adaptive_kernel(channels: int, gamma: float = 2.0, b: float = 1.0, smallest: int = 1) -> int:
    """ECA's kernel size for C channels: t = ⌊(log₂C + b) / γ⌋, made odd by adding 1 (equation 9).

    Args:
        channels: Number of channels C.
        gamma: Divisor γ.
        b: Summand b.
        smallest: Smallest size.
    """
    size = int(abs((math.log2(channels) + b) / gamma))
    return max(smallest, size if size % 2 else size + 1)


@register_attention(
    "eca",
    AttentionInfo(
        "Efficient channel attention",
        Paper(
            title="ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks",
            authors="Wang, Qilong and Wu, Banggu and Zhu, Pengfei and Li, Peihua and Zuo, Wangmeng and Hu, Qinghua",
            venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
            year=2020,
            arxiv="1910.03151",
        ),
        gates=("channel",),
        parameters="max(3, int((log2(C) + 1) / 2) | 1)",
        source="BangguWu/ECANet, MIT",
        half="means and logits",
        notes="The official code takes the kernel as an argument, 3 by default; here it follows the channels, as in "
        "the paper, and is at least 3, as in timm: kernel_size=3 is the official default.",
    ),
)
class EfficientChannelAttention(Gate):
    """Efficient channel attention, x · σ(convolution of the channels' means along the channels).

    Args:
        channels: Number of channels of the N×C×H×W maps.
        kernel_size: Number of neighbouring channels; None: by the paper's equation 9.

    Raises:
        AWBError: The kernel size is even.
    """

    def __init__(self, channels: int, kernel_size: int | None = None) -> None:
        super().__init__()
        size = adaptive_kernel(channels, smallest=3) if kernel_size is None else kernel_size
        require_odd("kernel_size", size, "each channel has its gate")
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        with without_autocast(x):
            means = like_weights(map_mean(x), self.conv).flatten(1).unsqueeze(1)
            return {"channel": self.conv(means).sigmoid().view(x.shape[0], -1, 1, 1)}
