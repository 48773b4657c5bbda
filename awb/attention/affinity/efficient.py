"""Efficient attention.

Shen et al., "Efficient Attention: Attention with Linear Complexities", WACV 2021, arXiv:1812.01243, equations 4–6:
keys sum up the values before queries read them, so that the work grows with the positions and not with their pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_multiple, require_position
from awb.attention.precision import as_float32, cleaned, finite, like_weights, without_autocast
from awb.attention.registry import register_attention
from awb.attention.starts import zero


@register_attention(
    "efficient",
    AttentionInfo(
        "Efficient attention",
        Paper(
            title="Efficient Attention: Attention with Linear Complexities",
            authors="Shen, Zhuoran and Zhang, Mingyuan and Zhao, Haiyu and Yi, Shuai and Li, Hongsheng",
            venue="Proceedings of the IEEE/CVF Winter Conference on Applications of Computer Vision (WACV)",
            year=2021,
            arxiv="1812.01243",
        ),
        parameters="4*(C*C + C)",
        identity="setting",
        source="cmsflash/efficient-attention, MIT",
        channel_multiple=8,
        min_channels=8,
        half="queries, keys, values and sums",
        notes="Officially without defaults; here 8 heads, and keys and values as wide as the input.",
    ),
)
class EfficientAttention(nn.Module):
    """Efficient attention, x + W(softmax_channels(q) · (softmax_positions(k)ᵀ v)), head by head.

    Args:
        channels: Number of channels of the N×C×H×W maps, a multiple of `head_count`.
        head_count: Number of heads.

    Raises:
        AWBError: The heads do not divide the channels.
    """

    def __init__(self, channels: int, head_count: int = 8) -> None:
        super().__init__()
        require_multiple(channels, head_count, f"efficient with head_count={head_count}")
        self.head_count = head_count
        self.keys = nn.Conv2d(channels, channels, 1)
        self.queries = nn.Conv2d(channels, channels, 1)
        self.values = nn.Conv2d(channels, channels, 1)
        self.reprojection = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self._heads(x)
        with without_autocast(x):
            read = torch.einsum("bhkn,bhkv->bhvn", query, torch.einsum("bhkn,bhvn->bhkv", key, value))
            change = self.reprojection(like_weights(read.reshape(x.shape), self.reprojection))
        total: Tensor = x + change.to(x.dtype)
        return total

    def query_map(self, x: Tensor, row: int, column: int) -> Tensor:
        """Shares that one position takes from all, mean of the heads, N×1×H×W; they sum to 1."""
        require_position(x, row, column)
        query, key, _ = self._heads(x)
        at = query[..., row * x.shape[3] + column]
        with without_autocast(x):
            shares = torch.einsum("bhk,bhkn->bn", at, key) / self.head_count
        return shares.view(x.shape[0], 1, *x.shape[2:])

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised queries and keys, and values, each N×heads×C/heads×H·W."""
        with without_autocast(x):
            clean = like_weights(cleaned(as_float32(x)), self.keys)
            parts = [as_float32(finite(layer(clean))) for layer in (self.queries, self.keys, self.values)]
        query, key, value = (part.reshape(x.shape[0], self.head_count, -1, x[0, 0].numel()) for part in parts)
        return query.softmax(dim=2), key.softmax(dim=3), value

    def reset_identity(self) -> None:
        """Make it return its input: the last layer is 0."""
        zero(self.reprojection)
