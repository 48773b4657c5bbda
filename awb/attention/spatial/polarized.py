"""Polarized self-attention.

Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression", 2021, arXiv:2107.00782, equations
1–5: a gate of channels and one of positions that keep half of the channels and the full resolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_choice
from awb.attention.precision import as_float32, cleaned, finite, like_weights, map_mean, without_autocast
from awb.attention.registry import register_attention
from awb.attention.starts import zero

Variant = Literal["paper", "official"]
Mode = Literal["parallel", "sequential"]


class ChannelGate(Gate):
    """Gate of channels: values pooled by a softmax over positions, then one layer up to all channels."""

    def __init__(self, channels: int, variant: Variant, mode: Mode) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.conv_q_right = nn.Conv2d(channels, 1, 1, bias=False)
        self.conv_v_right = nn.Conv2d(channels, half, 1, bias=False)
        if variant == "paper":
            self.up = nn.Sequential(nn.Conv2d(half, channels, 1, bias=False), nn.LayerNorm([channels, 1, 1]))
        elif mode == "parallel":
            self.up = nn.Sequential(nn.Conv2d(half, channels, 1, bias=False))
        else:
            hidden = max(1, half // 4)
            self.up = nn.Sequential(
                nn.Conv2d(half, hidden, 1), nn.LayerNorm([hidden, 1, 1]), nn.ReLU(), nn.Conv2d(hidden, channels, 1)
            )

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        with without_autocast(x):
            full = like_weights(as_float32(x), self.conv_q_right)
            shares = as_float32(self.conv_q_right(full)).flatten(2).softmax(dim=2)
            values = as_float32(finite(self.conv_v_right(full))).flatten(2)
            pooled = torch.einsum("nop,ncp->nc", shares, values)[:, :, None, None]
            return {"channel": self.up(like_weights(pooled, self.up)).sigmoid()}


class SpatialGate(Gate):
    """Gate of positions: the pooled query weighs the values of each position."""

    def __init__(self, channels: int, variant: Variant, mode: Mode) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.variant, self.mode = variant, mode
        self.conv_q_left = nn.Conv2d(channels, half, 1, bias=False)
        self.conv_v_left = nn.Conv2d(channels, half, 1, bias=False)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        with without_autocast(x):
            full = like_weights(as_float32(x), self.conv_q_left)
            query = map_mean(finite(self.conv_q_left(full)))
            if self.variant == "paper":
                query = query.softmax(dim=1)
            values = as_float32(finite(self.conv_v_left(full)))
            if self.variant == "official" and self.mode == "sequential":
                values = _over_positions(values)
            logits = (query * values).sum(dim=1, keepdim=True)
            if self.variant == "official" and self.mode == "parallel":
                logits = _over_positions(logits)
            return {"spatial": logits.sigmoid()}


@register_attention(
    "polarized",
    AttentionInfo(
        "Polarized self-attention",
        Paper(
            title="Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
            authors="Liu, Huajun and Liu, Fuqiang and Fan, Xinyi and Huang, Dong",
            venue="",
            year=2021,
            arxiv="2107.00782",
        ),
        gates=("element",),
        parameters="C + 4*C*max(1, C//2) + 2*C",
        identity="setting",
        source="DeLightCMU/PSA, Apache-2.0",
        half="shares, means and logits",
        notes="The paper takes the softmax of the pooled query over its channels; the official code takes one over "
        "positions (of the logits, or in a row of the values), which leaves a spatial gate of about ½ everywhere: "
        "variant='official'. Only the paper's parallel form can be the identity by itself; the others start by γ.",
    ),
)
class PolarizedSelfAttention(Gate):
    """Polarized self-attention: x · (channel gate + spatial gate), or both in a row.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        mode: `"parallel"`: the sum of both gates; `"sequential"`: the channel gate, then the spatial one.
        variant: `"paper"`: by the equations; `"official"`: by the code, see the kind's notes.

    Raises:
        AWBError: The mode or the variant is unknown.
    """

    def __init__(self, channels: int, mode: Mode = "parallel", variant: Variant = "paper") -> None:
        super().__init__()
        require_choice("mode", mode, ("parallel", "sequential"))
        require_choice("variant", variant, ("paper", "official"))
        self.mode, self.variant = mode, variant
        self.channel = ChannelGate(channels, variant, mode)
        self.spatial = SpatialGate(channels, variant, mode)

    @property
    def has_identity(self) -> bool:
        """Whether its parameters have values at which it returns its input."""
        return self.mode == "parallel" and self.variant == "paper"

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        full = cleaned(as_float32(x))
        channel = self.channel.attention_map(full)
        if self.mode == "parallel":
            return {"element": channel + self.spatial.attention_map(full)}
        return {"channel": channel, "spatial": self.spatial.attention_map(full * channel)}

    def reset_identity(self) -> None:
        """Make both gates ½: the layer norm before one and the values of the other are 0."""
        zero(self.channel.up[1], self.spatial.conv_v_left)


def _over_positions(x: Tensor) -> Tensor:
    """Softmax over all positions of each channel."""
    return x.flatten(2).softmax(dim=2).view(x.shape)
