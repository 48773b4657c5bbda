"""SimAM, attention without parameters.

Yang et al., "SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks", ICML 2021, equations
4–6: a position counts by how far it stands out from its channel's others.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.precision import as_float32
from awb.attention.registry import register_attention
from awb.attention.statistics import variance
from awb.errors import AWBError


@register_attention(
    "simam",
    AttentionInfo(
        "SimAM, parameter-free attention",
        Paper(
            title="SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks",
            authors="Yang, Lingxiao and Zhang, Ru-Yuan and Li, Lida and Xie, Xiaohua",
            venue="Proceedings of the International Conference on Machine Learning (ICML)",
            year=2021,
            page="https://proceedings.mlr.press/v139/yang21o.html",
        ),
        gates=("element",),
        parameters="0",
        source="ZjjConan/SimAM, no licence",
        half="statistics and logits",
        notes="Nothing in it learns: as published it cannot start as the identity. awb's γ learns.",
    ),
)
class SimAM(Gate):
    """SimAM, x · σ(d / (4(v + λ)) + ½) with d = (x − mean)² and v the variance of the channel's map.

    Args:
        channels: Number of channels of the N×C×H×W maps; it does not matter.
        e_lambda: Constant λ that keeps the quotient finite.

    Raises:
        AWBError: λ is not positive.
    """

    def __init__(self, channels: int, e_lambda: float = 1e-4) -> None:
        super().__init__()
        if e_lambda <= 0:
            raise AWBError(f"e_lambda={e_lambda}: expected a positive number, such as 1e-4")
        self.e_lambda = e_lambda

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        full = as_float32(x)
        distance = (full - full.mean(dim=(2, 3), keepdim=True)).square()
        return {"element": (distance / (4 * (variance(full, (2, 3)) + self.e_lambda)) + 0.5).sigmoid()}
