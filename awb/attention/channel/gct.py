"""Gated channel transformation.

Yang et al., "Gated Channel Transformation for Visual Recognition", CVPR 2020, arXiv:1909.11519, equations 2–6: channels
compete by their norms. Not the Gaussian context transformer (CVPR 2021), which has the same short name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_choice
from awb.attention.precision import as_float32, scaled
from awb.attention.registry import register_attention


@register_attention(
    "gct",
    AttentionInfo(
        "Gated channel transformation",
        Paper(
            title="Gated Channel Transformation for Visual Recognition",
            authors="Yang, Zongxin and Zhu, Linchao and Wu, Yu and Yang, Yi",
            venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
            year=2020,
            arxiv="1909.11519",
        ),
        gates=("channel",),
        parameters="3*C",
        identity="exact",
        source="z-x-yang/GCT, no licence",
        half="all of the gate",
        notes="The one light gate that is the identity as published. Sums of squares overflow in half precision.",
    ),
)
class GatedChannelTransformation(Gate):
    """Gated channel transformation, x · (1 + tanh(γ·s/rms(s) + β)) with s = α·‖x‖ per channel.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        norm: `"l2"`: Euclidean norms, as in the paper; `"l1"`: sums of absolute values.
        eps: Constant ε that keeps roots and quotients finite.

    Raises:
        AWBError: The norm is neither.
    """

    def __init__(self, channels: int, norm: Literal["l2", "l1"] = "l2", eps: float = 1e-5) -> None:
        super().__init__()
        require_choice("norm", norm, ("l2", "l1"))
        self.norm, self.eps = norm, eps
        self.alpha = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        x, alpha, gamma, beta = (as_float32(t) for t in (x, self.alpha, self.gamma, self.beta))
        if self.norm == "l2":
            size = alpha * (x.square().sum(dim=(2, 3), keepdim=True) + self.eps).sqrt()
            relative = size / (size.square().mean(dim=1, keepdim=True) + self.eps).sqrt()
        else:
            size = alpha * x.abs().sum(dim=(2, 3), keepdim=True)
            relative = size / (size.abs().mean(dim=1, keepdim=True) + self.eps)
        return {"channel": 1 + (scaled(relative, gamma) + beta).tanh()}
