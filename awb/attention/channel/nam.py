"""Normalisation-based attention.

Liu et al., "NAM: Normalization-based Attention Module", NeurIPS 2021 workshop on ImageNet, arXiv:2111.12419, equations
1–2: the scales of a batch norm tell how much each channel matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_choice
from awb.attention.precision import as_float32, like_weights, without_autocast
from awb.attention.registry import register_attention


@register_attention(
    "nam",
    AttentionInfo(
        "Normalisation-based attention (its channel part)",
        Paper(
            title="NAM: Normalization-based Attention Module",
            authors="Liu, Yichao and Shao, Zongru and Teng, Yueyang and Hoffmann, Nico",
            venue="",
            year=2021,
            arxiv="2111.12419",
        ),
        gates=("element",),
        parameters="2*C",
        source="Christian-lyc/NAM, no licence",
        half="normalised map and logits",
        notes="The share of a channel is about 1/C, so that the gate is about 0.5 everywhere. The spatial part of the "
        "paper is in no official code, and not here.",
    ),
)
class NormalizationAttention(Gate):
    """Normalisation-based attention, x · σ(batch norm(x)·|w| / Σ|w|) with w the batch norm's scales.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        variant: `"paper"`: the shares |w| / Σ|w| have a gradient, as the formula says; `"official"`: they have none,
            as the official code reads them from the weights' data. The values are the same.

    Raises:
        AWBError: The variant is neither.
    """

    def __init__(self, channels: int, variant: Literal["paper", "official"] = "paper") -> None:
        super().__init__()
        require_choice("variant", variant, ("paper", "official"))
        self.variant = variant
        self.norm = nn.BatchNorm2d(channels)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        with without_autocast(x):
            weight = as_float32(self.norm.weight if self.variant == "paper" else self.norm.weight.detach()).abs()
            share = weight / weight.sum().clamp(min=1e-30)  # all scales 0: shares of 0
            normalised = as_float32(self.norm(like_weights(as_float32(x), self.norm)))
            return {"element": (normalised * share.view(-1, 1, 1)).sigmoid()}
