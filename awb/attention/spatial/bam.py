"""Bottleneck Attention Module.

Park et al., "BAM: Bottleneck Attention Module", BMVC 2018, arXiv:1807.06514, equations 1–5: a branch over channels
and one over positions, joined to one map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import hidden_width, require_batch, require_choice, require_positive
from awb.attention.precision import as_float32, like_weights, map_mean, without_autocast
from awb.attention.registry import register_attention


@register_attention(
    "bam",
    AttentionInfo(
        "Bottleneck Attention Module",
        Paper(
            title="BAM: Bottleneck Attention Module",
            authors="Park, Jongchan and Woo, Sanghyun and Lee, Joon-Young and Kweon, In So",
            venue="Proceedings of the British Machine Vision Conference (BMVC)",
            year=2018,
            arxiv="1807.06514",
        ),
        gates=("element",),
        parameters="(2*C*max(1, C//16) + max(1, C//16) + C) + 2*C + (C*max(1, C//16) + 18*max(1, C//16)**2 "
        "+ 4*max(1, C//16) + 1) + 2",
        source="Jongchan/attention-module, MIT",
        batch_of_one=False,
        half="planes and logits",
        notes="The paper adds the two branches, with batch norm at their ends; the official code multiplies them, with "
        'batch norm inside: variant="official". Its class does not build as published, and pools H×H windows.',
    ),
)
class BAM(Gate):
    """Bottleneck Attention Module, x · (1 + σ(M_c(x) + M_s(x))).

    Args:
        channels: Number of channels of the N×C×H×W maps.
        reduction: Ratio of channels and the branches' hidden width; the width is at least 1.
        dilation: Dilation of the two 3×3 convolutions over positions.
        variant: `"paper"`: the branches' sum, each normalised at its end (equations 3–5). `"official"`: their
            product, each normalised after its hidden layers.

    Raises:
        AWBError: The variant is neither, or the dilation is not positive.
    """

    def __init__(
        self, channels: int, reduction: int = 16, dilation: int = 4, variant: Literal["paper", "official"] = "paper"
    ) -> None:
        super().__init__()
        require_choice("variant", variant, ("paper", "official"))
        require_positive("dilation", dilation)
        self.variant = variant
        hidden, inside = hidden_width(channels, reduction), variant == "official"

        def layer(convolution: nn.Conv2d, width: int) -> list[nn.Module]:
            return [convolution, *([nn.BatchNorm2d(width)] if inside else []), nn.ReLU()]

        def dilated() -> nn.Conv2d:
            return nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation)

        self.channel = nn.Sequential(
            *layer(nn.Conv2d(channels, hidden, 1), hidden),
            nn.Conv2d(hidden, channels, 1),
            *([] if inside else [nn.BatchNorm2d(channels)]),
        )
        self.spatial = nn.Sequential(
            *layer(nn.Conv2d(channels, hidden, 1), hidden),
            *layer(dilated(), hidden),
            *layer(dilated(), hidden),
            nn.Conv2d(hidden, 1, 1),
            *([] if inside else [nn.BatchNorm2d(1)]),
        )

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        require_batch(self, x, "bam")
        with without_autocast(x):
            channel = self.channel(like_weights(map_mean(x), self.channel))
            spatial = self.spatial(like_weights(as_float32(x), self.spatial))
            logits = channel + spatial if self.variant == "paper" else channel * spatial
            return {"element": 1 + logits.sigmoid()}
