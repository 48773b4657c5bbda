"""Multi-scale large kernel attention.

Wang et al., "Multi-scale Attention Network for Single Image Super-Resolution", CVPR workshops 2024, arXiv:2209.14145,
equations 3–5: LKA of three sizes, each on a third of the channels, gated by a small convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_multiple
from awb.attention.precision import as_float32, cleaned, finite, like_weights, scaled, without_autocast
from awb.attention.registry import register_attention

_SIZES = ((3, 5, 2), (5, 7, 3), (7, 9, 4))  # kernel, dilated kernel, dilation of each third


@register_attention(
    "mlka",
    AttentionInfo(
        "Multi-scale large kernel attention",
        Paper(
            title="Multi-scale Attention Network for Single Image Super-Resolution",
            authors="Wang, Yan and Li, Yusen and Wang, Gang and Liu, Xiaoguang",
            venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops (CVPRW)",
            year=2024,
            arxiv="2209.14145",
        ),
        parameters="3*C + 2*C*C + 2*C + C*C + C + (C//3)*(9 + 25 + 25 + 49 + 49 + 81 + 3*C//3 + 9)"
        " + (C//3)*(9 + 25 + 49 + 3)",
        identity="exact",
        source="icandle/MAN, Apache-2.0",
        channel_multiple=3,
        min_channels=3,
        half="the layer norm; its maps are clamped in float16",
        notes="Its thirds need a multiple of 3, which 64 and 256 are not. It adds to the input, and has no map.",
    ),
)
class MultiScaleLargeKernelAttention(nn.Module):
    """Multi-scale large kernel attention, x + s · W(v · [LKAₖ(aₖ) · dwₖ(aₖ)]), with a and v projections of norm(x).

    Args:
        channels: Number of channels of the N×C×H×W maps, a multiple of 3.

    Raises:
        AWBError: 3 does not divide the channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        require_multiple(channels, len(_SIZES), "mlka, with kernels of three sizes,")
        third = channels // len(_SIZES)
        self.scale = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.large = nn.ModuleList(_large_kernel(third, *sizes) for sizes in _SIZES)
        self.small = nn.ModuleList(
            nn.Conv2d(third, third, size, padding=size // 2, groups=third) for size, _, _ in _SIZES
        )
        self.project_in = nn.Conv2d(channels, 2 * channels, 1)
        self.project_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, v = finite(self.project_in(self._normalised(x))).chunk(2, dim=1)
        thirds = zip(a.chunk(len(_SIZES), dim=1), self.large, self.small, strict=True)
        gate = torch.cat([_through(large, part) * small(part) for part, large, small in thirds], dim=1)
        change: Tensor = self.project_out(finite(v * finite(gate)))
        return x + scaled(change, self.scale.to(change.dtype)).to(x.dtype)

    def _normalised(self, x: Tensor) -> Tensor:
        """Layer norm over the channels of each position; what is not finite counts as 0, and stays in x."""
        with without_autocast(x):
            full = cleaned(as_float32(x)).permute(0, 2, 3, 1)
            y: Tensor = self.norm(like_weights(full, self.norm)).permute(0, 3, 1, 2)
        return y.to(x.dtype)


def _large_kernel(channels: int, size: int, dilated: int, dilation: int) -> nn.Sequential:
    reach = dilation * (dilated // 2)
    return nn.Sequential(
        nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels),
        nn.Conv2d(channels, channels, dilated, padding=reach, dilation=dilation, groups=channels),
        nn.Conv2d(channels, channels, 1),
    )


def _through(layers: nn.Module, x: Tensor) -> Tensor:
    for layer in layers.children():
        x = finite(layer(x))
    return x
