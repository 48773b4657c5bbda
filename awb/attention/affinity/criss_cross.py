"""Criss-cross attention.

Huang et al., "CCNet: Criss-Cross Attention for Semantic Segmentation", ICCV 2019, arXiv:1811.11721, equations 1–3:
positions attend to their row and column; a second pass with the same weights reaches all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from awb.attention.affinity.queries import QueryKeyValue
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_position, require_positive
from awb.attention.precision import without_autocast
from awb.attention.registry import register_attention


@register_attention(
    "criss_cross",
    AttentionInfo(
        "Criss-cross attention",
        Paper(
            title="CCNet: Criss-Cross Attention for Semantic Segmentation",
            authors="Huang, Zilong and Wang, Xinggang and Huang, Lichao and Huang, Chang and Wei, Yunchao and "
            "Liu, Wenyu",
            venue="Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
            year=2019,
            arxiv="1811.11721",
        ),
        parameters="C*C + C + 2*(C + 1)*max(1, C//8) + 1",
        complexity="H·W·(H + W)",
        identity="exact",
        source="speedinghzl/CCNet, MIT",
        half="queries, keys, values and shares",
        notes="A position counts once, in its row. The logits are not scaled. The map of a query is that of all passes "
        "together: shares of shares.",
    ),
)
class CrissCrossAttention(QueryKeyValue):
    """Criss-cross attention, x + γ · Σ_j softmax_j(qᵢ·kⱼ) vⱼ over the row and the column of i, several times.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        recurrence: Number of passes R with the same weights; 2 in the paper.
        reduction: Ratio of channels and the width of queries and keys.

    Raises:
        AWBError: There is no pass.
    """

    def __init__(self, channels: int, recurrence: int = 2, reduction: int = 8) -> None:
        super().__init__(channels, reduction)
        require_positive("recurrence", recurrence)
        self.recurrence = recurrence

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.recurrence):
            x, _ = self._passed(x)
        return x

    def query_map(self, x: Tensor, row: int, column: int) -> Tensor:
        """Shares that one position takes from all over all passes, N×1×H×W; they sum to 1."""
        require_position(x, row, column)
        passes = []
        for _ in range(self.recurrence):
            x, shares = self._passed(x)
            passes.append(shares)
        shown = torch.zeros_like(x[:, 0], dtype=passes[0][0].dtype)
        shown[:, row, column] = 1
        with without_autocast(x):
            for by_column, by_row in reversed(passes):
                shown = torch.einsum("nhw,nhwg->ngw", shown, by_column) + torch.einsum("nhw,nhwv->nhv", shown, by_row)
        return shown.unsqueeze(1)

    def _passed(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Output of one pass, and its shares."""
        query, key, value = self.projected(x)
        with without_autocast(x):
            column, row = _shares(query, key)
            taken = torch.einsum("nhwg,ncgw->nchw", column, value) + torch.einsum("nhwv,nchv->nchw", row, value)
        return self.added(x, taken), (column, row)


def _shares(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Shares that each position takes from its column, N×H×W×H, without itself, and from its row, N×H×W×W."""
    height = query.shape[2]
    itself = torch.eye(height, dtype=torch.bool, device=query.device)[:, None, :]
    column = torch.einsum("nchw,ncgw->nhwg", query, key).masked_fill(itself, float("-inf"))
    row = torch.einsum("nchw,nchv->nhwv", query, key)
    shares = torch.cat([column, row], dim=3).softmax(dim=3)
    return shares[..., :height], shares[..., height:]
