"""Triplet attention.

Misra et al., "Rotate to Attend: Convolutional Triplet Attention Module", WACV 2021, arXiv:2010.03045, equations 1–3:
CBAM's spatial gate on each of the three planes of the map, and their mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_odd
from awb.attention.precision import as_float32, like_weights, without_autocast
from awb.attention.registry import register_attention


class PlaneGate(nn.Module):
    """Gate of one plane, σ(norm(convolution of the maximum and the mean over the third axis))."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, x: Tensor, axis: int) -> Tensor:
        """Gate with the axis pooled.

        Args:
            x: N×C×H×W.
            axis: 1, 2 or 3, over which is pooled.

        Returns:
            N×H×W, N×C×W or N×C×H.
        """
        planes = torch.stack([as_float32(x.amax(axis)), as_float32(x).mean(axis)], dim=1)
        gate: Tensor = self.norm(self.conv(like_weights(planes, self.conv))).sigmoid().squeeze(1)
        return gate


@register_attention(
    "triplet",
    AttentionInfo(
        "Triplet attention",
        Paper(
            title="Rotate to Attend: Convolutional Triplet Attention Module",
            authors="Misra, Diganta and Nalamada, Trikay and Arasanipalai, Ajay Uppili and Hou, Qibin",
            venue="Proceedings of the IEEE/CVF Winter Conference on Applications of Computer Vision (WACV)",
            year=2021,
            arxiv="2010.03045",
        ),
        gates=("element",),
        parameters="300",
        source="landskape-ai/triplet-attention, MIT",
        half="pooled planes and logits",
        notes="A port has a ReLU before the sigmoid, so that no gate closes below ½; the paper and this have none. It "
        "convolves over the order of channels, which has no meaning of its own.",
    ),
)
class TripletAttention(Gate):
    """Triplet attention, x · (gate of the plane C×W + of C×H + of H×W) / 3.

    Args:
        channels: Number of channels of the N×C×H×W maps; it does not matter.
        kernel_size: Side of the kernels.

    Raises:
        AWBError: The kernel size is even.
    """

    def __init__(self, channels: int, kernel_size: int = 7) -> None:
        super().__init__()
        require_odd("kernel_size", kernel_size, "the planes keep their size")
        self.cw = PlaneGate(kernel_size)
        self.hc = PlaneGate(kernel_size)
        self.hw = PlaneGate(kernel_size)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        with without_autocast(x):
            cw = self.cw(x, axis=2).unsqueeze(2)
            # the kernel sees rows and columns as height and channels
            hc = self.hc(x.transpose(1, 2), axis=3).transpose(1, 2).unsqueeze(3)
            hw = self.hw(x, axis=1).unsqueeze(1)
            return {"element": (cw + hc + hw) / 3}
