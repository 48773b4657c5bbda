"""Context anchor attention.

Cai et al., "Poly Kernel Inception Network for Remote Sensing Detection", CVPR 2024, arXiv:2403.06258, equations 4–6:
long strips of depthwise convolutions over averaged maps gate every element.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_odd
from awb.attention.precision import finite
from awb.attention.registry import register_attention


@register_attention(
    "caa",
    AttentionInfo(
        "Context anchor attention",
        Paper(
            title="Poly Kernel Inception Network for Remote Sensing Detection",
            authors="Cai, Xinhao and Lai, Qiuxia and Wang, Yuwei and Wang, Wenguan and Sun, Zeren and Yao, Yazhou",
            venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
            year=2024,
            arxiv="2403.06258",
        ),
        gates=("element",),
        parameters="2*C*C + 28*C",
        source="PKINet/PKINet, Apache-2.0",
        half="nothing; its maps are clamped in float16",
        notes="A SiLU stands before the sigmoid, so that no gate closes below 0.43. The average counts the padding.",
    ),
)
class ContextAnchorAttention(Gate):
    """Context anchor attention, x · σ(1×1(11×1(1×11(1×1(average of 7×7))))).

    Args:
        channels: Number of channels of the N×C×H×W maps.
        h_kernel_size: Length of the horizontal strip.
        v_kernel_size: Length of the vertical strip.

    Raises:
        AWBError: A length is even.
    """

    def __init__(self, channels: int, h_kernel_size: int = 11, v_kernel_size: int = 11) -> None:
        super().__init__()
        for name, size in (("h_kernel_size", h_kernel_size), ("v_kernel_size", v_kernel_size)):
            require_odd(name, size, "the map keeps its size")
        self.conv1 = _pointwise(channels)
        self.h_conv = nn.Conv2d(
            channels, channels, (1, h_kernel_size), padding=(0, h_kernel_size // 2), groups=channels
        )
        self.v_conv = nn.Conv2d(
            channels, channels, (v_kernel_size, 1), padding=(v_kernel_size // 2, 0), groups=channels
        )
        self.conv2 = _pointwise(channels)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        y = F.avg_pool2d(x, 7, stride=1, padding=3)
        for layer in (self.conv1, self.h_conv, self.v_conv, self.conv2):
            y = finite(layer(y))
        return {"element": y.sigmoid()}


def _pointwise(channels: int) -> nn.Sequential:
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)
    return nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), norm, nn.SiLU())
