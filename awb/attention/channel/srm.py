"""Style-based recalibration.

Lee et al., "SRM: A Style-based Recalibration Module for Convolutional Neural Networks", ICCV 2019, arXiv:1903.10829,
equations 1–5: the mean and standard deviation of each channel gate it, without the others.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_batch
from awb.attention.precision import as_float32, like_weights, without_autocast
from awb.attention.registry import register_attention
from awb.attention.statistics import variance


@register_attention(
    "srm",
    AttentionInfo(
        "Style-based recalibration",
        Paper(
            title="SRM: A Style-based Recalibration Module for Convolutional Neural Networks",
            authors="Lee, HyunJae and Kim, Hyo-Eun and Nam, Hyeonseob",
            venue="Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
            year=2019,
            arxiv="1903.10829",
        ),
        gates=("channel",),
        parameters="4*C",
        source="hyunjaelee410/style-based-recalibration-module, no licence",
        batch_of_one=False,
        half="statistics and logits",
        notes="Batch norm over one value per channel and image: it trains from batch size 2 on.",
    ),
)
class StyleRecalibration(Gate):
    """Style-based recalibration, x · σ(batch norm(w₀·mean + w₁·std)) per channel.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        eps: Constant in the root of the standard deviation.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.cfc = nn.Parameter(torch.zeros(channels, 2))
        self.norm = nn.BatchNorm2d(channels)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        require_batch(self, x, "srm")
        full = as_float32(x)
        mean, std = full.mean(dim=(2, 3)), (variance(full, (2, 3)) + self.eps).sqrt().flatten(1)
        with without_autocast(x):
            weight = as_float32(self.cfc)
            logits = (weight[:, 0] * mean + weight[:, 1] * std)[:, :, None, None]
            return {"channel": self.norm(like_weights(logits, self.norm)).sigmoid()}
