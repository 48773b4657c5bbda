"""Mixed local channel attention.

Wan et al., "Mixed local channel attention for object detection", Engineering Applications of Artificial Intelligence
123 (2023) 106442: ECA over the whole map and over each cell of a coarse grid.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from awb.attention.channel.eca import adaptive_kernel
from awb.attention.gate import Gate
from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_positive
from awb.attention.precision import as_float32, like_weights, without_autocast
from awb.attention.registry import register_attention
from awb.errors import AWBError


@register_attention(
    "mlca",
    AttentionInfo(
        "Mixed local channel attention",
        Paper(
            title="Mixed local channel attention for object detection",
            authors="Wan, Dahang and Lu, Rongsheng and Shen, Siyuan and Xu, Ting and Lang, Xianli and Ren, Zhijie",
            venue="Engineering Applications of Artificial Intelligence",
            year=2023,
            doi="10.1016/j.engappai.2023.106442",
        ),
        gates=("element",),
        parameters="2*(int((log2(C) + 1) / 2) | 1)",
        source="wandahangFY/MLCA, GPL-3.0",
        half="means and logits",
        notes="The convolution of the cells runs over all cells and channels in one row, so that it crosses from the "
        "last channel of a cell into the first of the next, as officially.",
    ),
)
class MixedLocalChannelAttention(Gate):
    """Mixed local channel attention, x · (½ σ(conv(mean of cells)) + ½ σ(conv(cells))), spread from cells to the map.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        local_size: Cells along each side of the grid.
        local_weight: Share of the cells' gate; the rest is the whole map's.

    Raises:
        AWBError: The grid has no cell, or the share is not between 0 and 1.
    """

    def __init__(self, channels: int, local_size: int = 5, local_weight: float = 0.5) -> None:
        super().__init__()
        require_positive("local_size", local_size)
        if not 0 <= local_weight <= 1:
            raise AWBError(f"local_weight={local_weight}: expected a share from 0 to 1")
        self.local_size, self.local_weight = local_size, local_weight
        size = adaptive_kernel(channels)
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.conv_local = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        n, channels, height, width = x.shape
        with without_autocast(x):
            cells = F.adaptive_avg_pool2d(as_float32(x), self.local_size)
            mean = cells.mean(dim=(2, 3)).unsqueeze(1)
            whole = self.conv(like_weights(mean, self.conv)).sigmoid().view(n, channels, 1, 1)
            row = cells.flatten(2).transpose(1, 2).reshape(n, 1, -1)  # cell after cell, all channels of each
            each = self.conv_local(like_weights(row, self.conv_local)).sigmoid()
            each = each.view(n, -1, channels).transpose(1, 2).reshape(cells.shape)
            mixed = each * self.local_weight + whole * (1 - self.local_weight)
            return {"element": F.adaptive_avg_pool2d(mixed, (height, width))}
