"""Queries, keys and values of kinds in which positions attend to each other, in float32 logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awb.attention.limits import hidden_width
from awb.attention.precision import as_float32, cleaned, finite, like_weights, scaled, without_autocast


class QueryKeyValue(nn.Module):
    """Base of kinds that add γ times what a position takes from others: x + γ · Σ share · value, γ = 0 at first.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        reduction: Ratio of channels and the width of queries and keys; the width is at least 1.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        width = hidden_width(channels, reduction)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.query_conv = nn.Conv2d(channels, width, 1)
        self.key_conv = nn.Conv2d(channels, width, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each N×?×H×W, in float32 where `x` is in half precision."""
        with without_autocast(x):
            clean = like_weights(cleaned(as_float32(x)), self.query_conv)
            query, key, value = (finite(conv(clean)) for conv in (self.query_conv, self.key_conv, self.value_conv))
        return as_float32(query), as_float32(key), as_float32(value)

    def added(self, x: Tensor, taken: Tensor) -> Tensor:
        """x + γ · what was taken, in the dtype of `x`; exactly `x` while γ is 0."""
        return (as_float32(x) + scaled(taken, as_float32(self.gamma))).to(x.dtype)


def attend_to_all(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Σ softmax(queryᵀ key) · value over all positions, without a matrix of all pairs of positions in memory.

    Args:
        query: N×D×H×W.
        key: N×D×H×W.
        value: N×C×H×W.

    Returns:
        N×C×H×W.
    """
    size = value.shape
    # the operators that save memory ask for a last axis without gaps: a bare transpose falls back to the full matrix
    q, k, v = (part.flatten(2).transpose(1, 2).contiguous().unsqueeze(1) for part in (query, key, value))
    if q.shape[-1] < v.shape[-1]:  # the operators that save memory ask for equal widths; zeros change no product
        q, k = (F.pad(part, (0, v.shape[-1] - part.shape[-1])) for part in (q, k))
    with without_autocast(q):
        taken = F.scaled_dot_product_attention(q, k, v, scale=1.0)
    return taken.squeeze(1)[..., : size[1]].transpose(1, 2).reshape(size)
