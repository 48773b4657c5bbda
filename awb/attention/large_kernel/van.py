"""The Visual Attention Network's attention block around LKA.

Guo et al., arXiv:2202.09741, figure 4(d): 1×1, GELU, LKA, 1×1, and a shortcut.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from awb.attention.info import AttentionInfo
from awb.attention.large_kernel.lka import LKA, VAN_PAPER
from awb.attention.precision import finite
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
class VANAttention(nn.Module):
    """VAN's attention block, x + project_out(LKA(GELU(project_in(x)))).

    Args:
        channels: Number of channels of the N×C×H×W maps.
        kernel_size: Side of LKA's depthwise kernel.
        dilated_kernel_size: Side of LKA's dilated depthwise kernel.
        dilation: Dilation of that kernel.
        backend: LKA's backend.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 5,
        dilated_kernel_size: int = 7,
        dilation: int = 3,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        self.project_in = nn.Conv2d(channels, channels, 1)
        self.activation = nn.GELU()
        self.lka = LKA(channels, kernel_size, dilated_kernel_size, dilation, backend)
        self.project_out = nn.Conv2d(channels, channels, 1)

    def attention_map(self, x: Tensor) -> Tensor:
        """LKA's N×C×H×W map of the projected input."""
        return self.lka.attention_map(self._projected(x))

    def forward(self, x: Tensor) -> Tensor:
        update: Tensor = self.project_out(finite(self.lka(self._projected(x))))
        return x + update

    def _projected(self, x: Tensor) -> Tensor:
        # values that are not finite stay where they are in x, and do not spread
        y: Tensor = self.activation(finite(self.project_in(x.nan_to_num(0.0, 0.0, 0.0))))
        return y

    @torch.no_grad()
    def reset_identity(self) -> None:
        """Make the block return its input: the branch beside the shortcut ends in zeros."""
        self.project_out.weight.zero_()
        assert self.project_out.bias is not None
        self.project_out.bias.zero_()
