"""Strip pooling.

Hou et al., "Strip Pooling: Rethinking Spatial Pooling for Scene Parsing", CVPR 2020, arXiv:2003.13328, section 3.2: the
mixed pooling module, of grids of three sizes and of whole rows and columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import hidden_width
from awb.attention.precision import as_float32, cleaned, finite
from awb.attention.registry import register_attention
from awb.attention.starts import zero


@register_attention(
    "strip_pooling",
    AttentionInfo(
        "Strip pooling (the mixed pooling module)",
        Paper(
            title="Strip Pooling: Rethinking Spatial Pooling for Scene Parsing",
            authors="Hou, Qibin and Zhang, Li and Cheng, Ming-Ming and Feng, Jiashi",
            venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
            year=2020,
            arxiv="2003.13328",
        ),
        parameters="4*C*max(1, C//4) + 51*max(1, C//4)**2 + 18*max(1, C//4) + 2*C",
        source="houqb/SPNet, MIT",
        half="nothing; its maps are clamped in float16",
        notes="It adds to the input and ends in a ReLU, which destroys maps with signs: it starts by γ. With "
        "last_relu=False it starts as the identity by itself. timm_strip is something else.",
    ),
)
class StripPooling(nn.Module):
    """Strip pooling, ReLU(x + 1×1 of [grids of 20×20 and 12×12 pooled, rows and columns pooled]).

    Args:
        channels: Number of channels of the N×C×H×W maps.
        reduction: Ratio of channels and the branches' width; the width is at least 1.
        last_relu: Whether the sum passes a ReLU, as in the paper.
    """

    def __init__(self, channels: int, reduction: int = 4, last_relu: bool = True) -> None:
        super().__init__()
        self.last_relu = last_relu
        width = hidden_width(channels, reduction)
        self.grid_in = nn.Sequential(*_layer(channels, width, (1, 1)), nn.ReLU())
        self.strip_in = nn.Sequential(*_layer(channels, width, (1, 1)), nn.ReLU())
        self.full = nn.Sequential(*_layer(width, width, (3, 3)))
        self.fine = nn.Sequential(*_layer(width, width, (3, 3)))
        self.coarse = nn.Sequential(*_layer(width, width, (3, 3)))
        self.columns = nn.Sequential(*_layer(width, width, (1, 3)))
        self.rows = nn.Sequential(*_layer(width, width, (3, 1)))
        self.grid_out = nn.Sequential(*_layer(width, width, (3, 3)), nn.ReLU())
        self.strip_out = nn.Sequential(*_layer(width, width, (3, 3)), nn.ReLU())
        self.join = nn.Sequential(*_layer(2 * width, channels, (1, 1)))

    @property
    def has_identity(self) -> bool:
        """Whether its parameters have values at which it returns its input."""
        return not self.last_relu

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        y = cleaned(x)
        grids, strips = finite(self.grid_in(y)), finite(self.strip_in(y))
        fine = _spread(self.fine(F.adaptive_avg_pool2d(grids, 20)), size)
        coarse = _spread(self.coarse(F.adaptive_avg_pool2d(grids, 12)), size)
        grids = self.grid_out(finite(self.full(grids) + fine + coarse).relu())
        columns, rows = (as_float32(strips).mean(dim=dim, keepdim=True).to(strips.dtype) for dim in (2, 3))
        columns, rows = self.columns(columns).expand(-1, -1, *size), self.rows(rows).expand(-1, -1, *size)
        strips = self.strip_out(finite(columns + rows).relu())
        total: Tensor = x + self.join(finite(torch.cat([grids, strips], dim=1)))
        return total.relu() if self.last_relu else total

    def reset_identity(self) -> None:
        """Make the sum the input: the last norm's scale and shift are 0."""
        zero(self.join[1])


def _layer(channels: int, width: int, kernel: tuple[int, int]) -> tuple[nn.Module, nn.Module]:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Conv2d(channels, width, kernel, padding=padding, bias=False), nn.BatchNorm2d(width)


def _spread(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, (size[0], size[1]), mode="bilinear", align_corners=True)
