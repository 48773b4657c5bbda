"""Double attention.

Chen et al., "A²-Nets: Double Attention Networks", NeurIPS 2018, arXiv:1810.11579, equations 1–6: positions are
gathered into a few descriptors, which are then distributed to all positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import hidden_width, require_position, require_positive
from awb.attention.precision import as_float32, cleaned, finite, like_weights, without_autocast
from awb.attention.registry import register_attention
from awb.attention.starts import zero


@register_attention(
    "a2",
    AttentionInfo(
        "Double attention",
        Paper(
            title="A^2-Nets: Double Attention Networks",
            authors="Chen, Yunpeng and Kalantidis, Yannis and Li, Jianshu and Yan, Shuicheng and Feng, Jiashi",
            venue="Advances in Neural Information Processing Systems (NeurIPS)",
            year=2018,
            arxiv="1810.11579",
        ),
        parameters="4*C*max(1, C//4) + 3*max(1, C//4) + C",
        identity="setting",
        source="no official PyTorch code; values by a port, without its shortcut",
        half="features, shares and sums",
        notes="Popular ports take the first softmax over the batch, so that an image's result depends on its "
        "neighbours, and leave out the shortcut. Ports have 128 features and descriptors; here a quarter of C.",
    ),
)
class DoubleAttention(nn.Module):
    """Double attention, x + W((A softmax_positions(B)ᵀ) softmax_descriptors(V)).

    Args:
        channels: Number of channels of the N×C×H×W maps.
        c_m: Number of features; a quarter of the channels by default.
        c_n: Number of descriptors; a quarter of the channels by default.
        shortcut: Whether the input is added, as in the paper's block.

    Raises:
        AWBError: A number is not positive.
    """

    def __init__(self, channels: int, c_m: int | None = None, c_n: int | None = None, shortcut: bool = True) -> None:
        super().__init__()
        features, descriptors = (hidden_width(channels, 4) if given is None else given for given in (c_m, c_n))
        for name, number in (("c_m", features), ("c_n", descriptors)):
            require_positive(name, number)
        self.shortcut = shortcut
        self.convA = nn.Conv2d(channels, features, 1)
        self.convB = nn.Conv2d(channels, descriptors, 1)
        self.convV = nn.Conv2d(channels, descriptors, 1)
        self.proj = nn.Conv2d(features, channels, 1)

    @property
    def has_identity(self) -> bool:
        """Whether its parameters have values at which it returns its input."""
        return self.shortcut

    def forward(self, x: Tensor) -> Tensor:
        features, gathers, takes = self._parts(x)
        with without_autocast(x):
            descriptors = torch.einsum("nmp,ndp->nmd", features, gathers)
            given = torch.einsum("nmd,ndp->nmp", descriptors, takes)
            change = self.proj(like_weights(given.view(x.shape[0], -1, *x.shape[2:]), self.proj)).to(x.dtype)
        y: Tensor = x + change if self.shortcut else change
        return y

    def query_map(self, x: Tensor, row: int, column: int) -> Tensor:
        """Shares that one position takes from all by way of the descriptors, N×1×H×W; they sum to 1."""
        require_position(x, row, column)
        _, gathers, takes = self._parts(x)
        at = takes[..., row * x.shape[3] + column]
        with without_autocast(x):
            shares = torch.einsum("nd,ndp->np", at, gathers)
        return shares.view(x.shape[0], 1, *x.shape[2:])

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features N×m×HW, shares that each descriptor gathers and that each position takes, N×d×HW."""
        with without_autocast(x):
            clean = like_weights(cleaned(as_float32(x)), self.convA)
            a, b, v = (as_float32(finite(conv(clean))).flatten(2) for conv in (self.convA, self.convB, self.convV))
        return a, b.softmax(dim=2), v.softmax(dim=1)

    def reset_identity(self) -> None:
        """Make it return its input: the last layer is 0."""
        zero(self.proj)
