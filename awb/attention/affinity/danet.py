"""Dual attention: positions that attend to each other, and channels that do.

Fu et al., "Dual Attention Network for Scene Segmentation", CVPR 2019, arXiv:1809.02983, equations 1–4.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from awb.attention.affinity.queries import QueryKeyValue, attend_to_all
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_choice, require_position
from awb.attention.precision import as_float32, cleaned, scaled, without_autocast
from awb.attention.registry import register_attention

Variant = Literal["paper", "official"]
_PAPER = Paper(
    title="Dual Attention Network for Scene Segmentation",
    authors="Fu, Jun and Liu, Jing and Tian, Haijie and Li, Yong and Bao, Yongjun and Fang, Zhiwei and Lu, Hanqing",
    venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
    year=2019,
    arxiv="1809.02983",
)
_SOURCE = "junfu1115/DANet, MIT"


@register_attention(
    "danet_position",
    AttentionInfo(
        "Dual attention, its position part",
        _PAPER,
        parameters="C*C + C + 2*(C + 1)*max(1, C//8) + 1",
        complexity="(H·W)²",
        identity="exact",
        source=_SOURCE,
        half="queries, keys, values and shares",
        notes="No (H·W)² matrix is stored: one would take 39 MB an image at 56×56, 629 MB at 112×112, in float32. "
        "The logits are not scaled.",
    ),
)
class PositionAttention(QueryKeyValue):
    """Position attention, x + γ · Σ_j softmax_j(qᵢ·kⱼ) vⱼ over all positions j.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        reduction: Ratio of channels and the width of queries and keys.
    """

    def taken(self, x: Tensor) -> Tensor:
        """What each position takes from all, N×C×H×W."""
        return attend_to_all(*self.projected(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.added(x, self.taken(x))

    def query_map(self, x: Tensor, row: int, column: int) -> Tensor:
        """Shares that one position takes from all, N×1×H×W; they sum to 1."""
        require_position(x, row, column)
        query, key, _ = self.projected(x)
        logits = (query[:, :, row, column, None, None] * key).sum(dim=1, keepdim=True)
        return logits.flatten(2).softmax(dim=2).view(logits.shape)


@register_attention(
    "danet_channel",
    AttentionInfo(
        "Dual attention, its channel part",
        _PAPER,
        parameters="1",
        identity="exact",
        source=_SOURCE,
        half="products and shares",
        notes="The paper takes softmax(E) of the products E of channels, the official code softmax(−E), so that a "
        'channel takes most from those least like it: variant="official".',
    ),
)
class ChannelAttention(nn.Module):
    """Channel attention, x + γ · Σ_j softmax_j(xᵢ·xⱼ) xⱼ over all channels j.

    Args:
        channels: Number of channels of the N×C×H×W maps; it does not matter.
        variant: `"paper"`: softmax(E); `"official"`: softmax(−E).

    Raises:
        AWBError: The variant is neither.
    """

    def __init__(self, channels: int, variant: Variant = "paper") -> None:
        super().__init__()
        require_choice("variant", variant, ("paper", "official"))
        self.variant = variant
        self.gamma = nn.Parameter(torch.zeros(1))

    def taken(self, x: Tensor) -> Tensor:
        """What each channel takes from all, N×C×H×W."""
        with without_autocast(x):
            flat = cleaned(as_float32(x)).flatten(2)
            products = flat @ flat.transpose(1, 2)
            shares = (products if self.variant == "paper" else -products).softmax(dim=2)
            return (shares @ flat).view(x.shape)

    def forward(self, x: Tensor) -> Tensor:
        return (as_float32(x) + scaled(self.taken(x), as_float32(self.gamma))).to(x.dtype)


@register_attention(
    "danet",
    AttentionInfo(
        "Dual attention",
        _PAPER,
        parameters="C*C + C + 2*(C + 1)*max(1, C//8) + 2",
        complexity="(H·W)²",
        identity="exact",
        source=_SOURCE,
        half="as its two parts",
        notes="The sum of danet_position and danet_channel with one shortcut; the paper's convolutions around them, "
        "which change the channels, stay outside. The map of a query is the position part's.",
    ),
)
class DualAttention(nn.Module):
    """Dual attention, x + γ₁ · position part + γ₂ · channel part.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        reduction: Ratio of channels and the width of queries and keys.
        variant: The channel part's.
    """

    def __init__(self, channels: int, reduction: int = 8, variant: Variant = "paper") -> None:
        super().__init__()
        self.position = PositionAttention(channels, reduction)
        self.channel = ChannelAttention(channels, variant)

    def forward(self, x: Tensor) -> Tensor:
        changes = (scaled(part.taken(x), as_float32(part.gamma)) for part in (self.position, self.channel))
        return (as_float32(x) + sum(changes)).to(x.dtype)

    def query_map(self, x: Tensor, row: int, column: int) -> Tensor:
        """Shares that one position takes from all in the position part, N×1×H×W; they sum to 1."""
        return self.position.query_map(x, row, column)
