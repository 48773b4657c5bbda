"""The Visual Attention Network's attention block around LKA.

Guo et al., arXiv:2202.09741, figure 4(d): 1×1, GELU, LKA, 1×1, and a shortcut.
"""

from __future__ import annotations

from awb.attention.info import AttentionInfo
from awb.attention.large_kernel.lka import LKA, VAN_PAPER
from awb.attention.large_kernel.projected import ProjectedGate
from awb.attention.registry import register_attention
from awb.kernels import Backend


@register_attention(
    "van",
    AttentionInfo(
        "VAN's attention block",
        VAN_PAPER,
        parameters="C*(25 + 49 + C + 3) + 2*C*(C + 1)",
        identity="setting",
        source="Visual-Attention-Network/VAN-Classification, Apache-2.0",
        half="nothing; its maps are clamped in float16",
        notes="The map is LKA's of the projected input; the shortcut stays outside.",
    ),
)
class VANAttention(ProjectedGate):
    """VAN's attention block, x + project_out(LKA(GELU(project_in(x)))).

    Args:
        channels: Number of channels of the N×C×H×W maps.
        kernel_size: Side of LKA's depthwise kernel.
        dilated_kernel_size: Side of LKA's dilated depthwise kernel.
        dilation: Dilation of that kernel.
        backend: LKA's backend.
    """

    lka: LKA

    def __init__(
        self,
        channels: int,
        kernel_size: int = 5,
        dilated_kernel_size: int = 7,
        dilation: int = 3,
        backend: Backend = "auto",
    ) -> None:
        # drawn between the projections, as ever, so that a seed gives the same weights
        super().__init__(channels, lambda: LKA(channels, kernel_size, dilated_kernel_size, dilation, backend))

    @staticmethod
    def _child() -> str:
        return "lka"
