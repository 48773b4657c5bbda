"""Deformable large kernel attention.

Azad et al., "Beyond Self-Attention: Deformable Large Kernel Attention for Medical Image Segmentation", WACV 2024,
arXiv:2309.00121, equations 4–6: LKA whose depthwise kernels sample where dense convolutions tell them to.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from awb.attention.info import AttentionInfo, Paper
from awb.attention.precision import as_float32, cleaned, finite, like_weights, without_autocast
from awb.attention.registry import register_attention
from awb.attention.starts import PointwiseGate


class DeformableDepthwise(nn.Module):
    """Depthwise convolution without bias at offsets that a dense one of the same kernel predicts."""

    def __init__(self, channels: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.dilation, self.padding = dilation, dilation * (kernel_size // 2)
        self.offset = nn.Conv2d(channels, 2 * kernel_size**2, kernel_size, padding=self.padding, dilation=dilation)
        self.conv = nn.Conv2d(channels, channels, kernel_size, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        from torchvision.ops import deform_conv2d

        with without_autocast(x):  # torchvision samples in float32 and float64 alone on a CPU
            offset = as_float32(self.offset(like_weights(as_float32(x), self.offset)))
            y: Tensor = deform_conv2d(
                as_float32(x).contiguous(),
                offset,
                as_float32(self.conv.weight),
                padding=self.padding,
                dilation=self.dilation,
            )
        return y


@register_attention(
    "dlka",
    AttentionInfo(
        "Deformable large kernel attention",
        Paper(
            title="Beyond Self-Attention: Deformable Large Kernel Attention for Medical Image Segmentation",
            authors="Azad, Reza and Niggemeier, Leon and Hüttemann, Michael and Kazerouni, Amirhossein and "
            "Aghdam, Ehsan Khodapanah and Velichko, Yury and Bagci, Ulas and Merhof, Dorit",
            venue="Proceedings of the IEEE/CVF Winter Conference on Applications of Computer Vision (WACV)",
            year=2024,
            arxiv="2309.00121",
        ),
        gates=("element",),
        parameters="50*(25*C + 1) + 98*(49*C + 1) + C*(25 + 49) + C*C + C",
        identity="setting",
        source="mindflow-institue/deformableLKA, Apache-2.0",
        half="all but the last convolution",
        notes="The dense convolutions of the offsets cost 44 times what LKA does at 64 channels. Needs torchvision.",
    ),
)
class DeformableLKA(PointwiseGate):
    """Deformable large kernel attention, x · 1×1(deformable dilated 7×7(deformable 5×5(x))).

    Args:
        channels: Number of channels of the N×C×H×W maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.near = DeformableDepthwise(channels, 5, 1)
        self.far = DeformableDepthwise(channels, 7, 3)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        y = self.far(self.near(cleaned(x)))
        return {"element": self.pointwise(finite(like_weights(y, self.pointwise)))}
