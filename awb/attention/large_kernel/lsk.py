"""Large selective kernels.

Li et al., "Large Selective Kernel Network for Remote Sensing Object Detection", ICCV 2023, arXiv:2303.09030,
equations 2–8: two fields of view, of which each position chooses; alone and in LSKNet's block.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from awb.attention.info import AttentionInfo, Paper
from awb.attention.large_kernel.projected import ProjectedGate
from awb.attention.limits import hidden_width
from awb.attention.precision import as_float32, cleaned, finite, like_weights, without_autocast
from awb.attention.registry import register_attention
from awb.attention.starts import PointwiseGate

_PAPER = Paper(
    title="Large Selective Kernel Network for Remote Sensing Object Detection",
    authors="Li, Yuxuan and Hou, Qibin and Zheng, Zhaohui and Cheng, Ming-Ming and Yang, Jian and Li, Xiang",
    venue="Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
    year=2023,
    arxiv="2303.09030",
)
_SOURCE = "zcablii/LSKNet, CC BY-NC 4.0"
_HALF = "planes and logits of the choice; its maps are clamped in float16"
_PARAMETERS = "C*(25 + 49 + 2) + 3*C*max(1, C//2) + 2*max(1, C//2) + C + 198"


@register_attention(
    "lsk",
    AttentionInfo(
        "Large selective kernel",
        _PAPER,
        gates=("element",),
        parameters=_PARAMETERS,
        identity="setting",
        source=_SOURCE,
        half=_HALF,
        notes="It sees 23×23 positions, and 6 more where it chooses; the map is not bounded.",
    ),
)
class LargeSelectiveKernel(PointwiseGate):
    """Large selective kernel, x · W(a·s₀ + b·s₁): a 5×5 depthwise, b a dilated 7×7 of it, s their weights by position.

    Args:
        channels: Number of channels of the N×C×H×W maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = hidden_width(channels, 2)
        self.near = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.far = nn.Conv2d(channels, channels, 7, padding=9, dilation=3, groups=channels)
        self.near_half = nn.Conv2d(channels, half, 1)
        self.far_half = nn.Conv2d(channels, half, 1)
        self.squeeze = nn.Conv2d(2, 2, 7, padding=3)
        self.pointwise = nn.Conv2d(half, channels, 1)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        a = finite(self.near(cleaned(x)))
        b = finite(self.far(a))
        a, b = finite(self.near_half(a)), finite(self.far_half(b))
        choice = self._choice(torch.cat([a, b], dim=1)).to(a.dtype)
        return {"element": self.pointwise(finite(a * choice[:, :1] + b * choice[:, 1:]))}

    def _choice(self, maps: Tensor) -> Tensor:
        """Weights of both maps at each position, N×2×H×W."""
        planes = torch.cat([as_float32(maps).mean(1, keepdim=True), as_float32(maps.amax(1, keepdim=True))], dim=1)
        with without_autocast(maps):
            logits: Tensor = self.squeeze(like_weights(planes, self.squeeze))
            return logits.sigmoid()


@register_attention(
    "lsk_block",
    AttentionInfo(
        "LSKNet's attention block",
        _PAPER,
        parameters=f"{_PARAMETERS} + 2*C*(C + 1)",
        identity="setting",
        source=_SOURCE,
        half=_HALF,
        notes="The map is lsk's of the projected input.",
    ),
)
class LargeSelectiveBlock(ProjectedGate):
    """LSKNet's attention block, x + project_out(lsk(GELU(project_in(x)))).

    Args:
        channels: Number of channels of the N×C×H×W maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, lambda: LargeSelectiveKernel(channels))
