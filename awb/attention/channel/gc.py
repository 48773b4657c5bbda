"""Global context.

Cao et al., "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond", ICCV workshops 2019,
arXiv:1904.11492, equation 5: one attention over positions for all, whose mean passes a bottleneck and is added.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import hidden_width, require_choice, require_position
from awb.attention.precision import as_float32, cleaned, finite, like_weights, without_autocast
from awb.attention.registry import register_attention


@register_attention(
    "gc",
    AttentionInfo(
        "Global context",
        Paper(
            title="GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond",
            authors="Cao, Yue and Xu, Jiarui and Lin, Stephen and Wei, Fangyun and Hu, Han",
            venue="Proceedings of the IEEE/CVF International Conference on Computer Vision Workshops (ICCVW)",
            year=2019,
            arxiv="1904.11492",
        ),
        parameters="C + 1 + 2*C*max(1, C//16) + 3*max(1, C//16) + C",
        identity="exact",
        source="xvjiarui/GCNet, Apache-2.0",
        half="attention and context",
        notes="timm_gc multiplies, timm_gca adds; both have other widths, and timm_gca does not start as the identity. "
        'With fusion="mul" it gates channels, and starts as the identity by γ. Its map is where the context is taken.',
    ),
)
class GlobalContext(nn.Module):
    """Global context, x + W₂ ReLU(layer norm(W₁ c)) with c the attended mean of x over all positions.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        reduction: Ratio of channels and the bottleneck's width; 16 or 4 in the paper.
        fusion: `"add"`: as the paper's default; `"mul"`: x · σ(…).

    Raises:
        AWBError: The fusion is neither.
    """

    def __init__(self, channels: int, reduction: int = 16, fusion: Literal["add", "mul"] = "add") -> None:
        super().__init__()
        require_choice("fusion", fusion, ("add", "mul"))
        self.fusion = fusion
        hidden = hidden_width(channels, reduction)
        self.attend = nn.Conv2d(channels, 1, 1)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.norm = nn.LayerNorm([hidden, 1, 1])
        self.expand = nn.Conv2d(hidden, channels, 1)
        nn.init.zeros_(self.expand.weight)
        assert self.expand.bias is not None
        nn.init.zeros_(self.expand.bias)

    def query_map(self, x: Tensor, row: int, column: int) -> Tensor:
        """Shares of all positions in the context, N×1×H×W, the same for every position; they sum to 1."""
        require_position(x, row, column)
        return self._shares(cleaned(as_float32(x)))

    def _shares(self, x: Tensor) -> Tensor:
        with without_autocast(x):
            logits = as_float32(self.attend(like_weights(x, self.attend)))
            return logits.flatten(2).softmax(dim=2).view(logits.shape)

    def forward(self, x: Tensor) -> Tensor:
        full = cleaned(as_float32(x))
        with without_autocast(x):
            context = torch.einsum("nchw,nohw->nc", full, self._shares(full))[:, :, None, None]
            change = self.norm(self.reduce(like_weights(context, self.reduce))).relu()
            change = self.expand(finite(change)).to(x.dtype)
        y: Tensor = x + change if self.fusion == "add" else x * change.sigmoid()
        return y
