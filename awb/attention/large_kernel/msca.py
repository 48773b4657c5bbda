"""Multi-scale convolutional attention.

Guo et al., "SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation", NeurIPS 2022,
arXiv:2209.08575, equations 1–2 and figure 2: a map from strips of three lengths, alone and in SegNeXt's block.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from awb.attention.info import AttentionInfo, Paper
from awb.attention.large_kernel.projected import ProjectedGate
from awb.attention.large_kernel.strips import Strips
from awb.attention.precision import cleaned
from awb.attention.registry import register_attention
from awb.attention.starts import PointwiseGate

_PAPER = Paper(
    title="SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation",
    authors="Guo, Meng-Hao and Lu, Cheng-Ze and Hou, Qibin and Liu, Zhengning and Cheng, Ming-Ming and Hu, Shi-Min",
    venue="Advances in Neural Information Processing Systems (NeurIPS)",
    year=2022,
    arxiv="2209.08575",
)
_SOURCE = "Visual-Attention-Network/SegNeXt, Apache-2.0"
_HALF = "nothing; its maps are clamped in float16"


@register_attention(
    "msca",
    AttentionInfo(
        "Multi-scale convolutional attention",
        _PAPER,
        gates=("element",),
        parameters="C*(25 + 14 + 22 + 42 + 7) + C*C + C",
        identity="setting",
        source=_SOURCE,
        half=_HALF,
        notes="It sees 25×25 positions; the map is not bounded.",
    ),
)
class MultiScaleConvolutionalAttention(PointwiseGate):
    """Multi-scale convolutional attention, x · 1×1(a + Σ strips(a)), a = 5×5 depthwise of x.

    Args:
        channels: Number of channels of the N×C×H×W maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.strips = Strips(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        return {"element": self.pointwise(self.strips(cleaned(x)))}


@register_attention(
    "msca_block",
    AttentionInfo(
        "SegNeXt's attention block",
        _PAPER,
        parameters="C*(25 + 14 + 22 + 42 + 7) + C*C + C + 2*C*(C + 1)",
        identity="setting",
        source=_SOURCE,
        half=_HALF,
        notes="The map is msca's of the projected input.",
    ),
)
class MultiScaleConvolutionalBlock(ProjectedGate):
    """SegNeXt's attention block, x + project_out(msca(GELU(project_in(x)))).

    Args:
        channels: Number of channels of the N×C×H×W maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, lambda: MultiScaleConvolutionalAttention(channels))
