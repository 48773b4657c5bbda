"""Concurrent spatial and channel squeeze and excitation.

Roy et al., "Concurrent Spatial and Channel 'Squeeze & Excitation' in Fully Convolutional Networks", MICCAI 2018,
arXiv:1803.02579, equations 1–4: a gate of channels and one of positions, side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import hidden_width, require_choice
from awb.attention.precision import as_float32, cleaned, like_weights, map_mean, without_autocast
from awb.attention.registry import register_attention
from awb.attention.starts import zero


@register_attention(
    "scse",
    AttentionInfo(
        "Concurrent spatial and channel squeeze and excitation",
        Paper(
            title="Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks",
            authors="Roy, Abhijit Guha and Navab, Nassir and Wachinger, Christian",
            venue="Medical Image Computing and Computer Assisted Intervention (MICCAI)",
            year=2018,
            arxiv="1803.02579",
        ),
        gates=("element",),
        parameters="2*C*max(1, C//2) + max(1, C//2) + C + C + 1",
        identity="setting",
        source="ai-med/squeeze_and_excitation, MIT",
        half="means and logits",
        notes="The paper adds, the official code takes the larger product, segmentation_models_pytorch adds and has a "
        'hidden width of C/16. With fusion="max" it cannot be the identity, and starts by γ.',
    ),
)
class ConcurrentSqueezeExcitation(Gate):
    """Concurrent squeeze and excitation, x · (channel gate + spatial gate).

    Args:
        channels: Number of channels of the N×C×H×W maps.
        reduction: Ratio of channels and the channel gate's hidden width; the width is at least 1.
        fusion: `"sum"`: as the paper's text; `"max"`: the larger of the two products at each element, as officially.

    Raises:
        AWBError: The fusion is neither.
    """

    def __init__(self, channels: int, reduction: int = 2, fusion: Literal["sum", "max"] = "sum") -> None:
        super().__init__()
        require_choice("fusion", fusion, ("sum", "max"))
        self.fusion = fusion
        hidden = hidden_width(channels, reduction)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)
        self.spatial = nn.Conv2d(channels, 1, 1)

    @property
    def has_identity(self) -> bool:
        """Whether its parameters have values at which it returns its input."""
        return self.fusion == "sum"

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        full = cleaned(as_float32(x))
        with without_autocast(x):
            hidden = self.reduce(like_weights(map_mean(full), self.reduce)).relu()
            channel = self.expand(hidden).sigmoid()
            spatial = self.spatial(like_weights(full, self.spatial)).sigmoid()
        if self.fusion == "sum":
            return {"element": channel + spatial}
        # the larger product: of a negative input with the smaller gate
        return {"element": torch.where(full >= 0, torch.maximum(channel, spatial), torch.minimum(channel, spatial))}

    def reset_identity(self) -> None:
        """Make both gates ½: their last layers are 0."""
        zero(self.expand, self.spatial)
