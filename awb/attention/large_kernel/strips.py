"""Depthwise strips of three lengths, which msca and cpca share."""

from __future__ import annotations

from torch import Tensor, nn

from awb.attention.precision import finite


class Strips(nn.Module):
    """a + Σ of 1×k then k×1 depthwise convolutions of a, for k = 7, 11 and 21, with a a 5×5 one of the input.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        lengths: The lengths k.
    """

    def __init__(self, channels: int, lengths: tuple[int, ...] = (7, 11, 21)) -> None:
        super().__init__()
        self.square = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.pairs = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, (1, k), padding=(0, k // 2), groups=channels),
                nn.Conv2d(channels, channels, (k, 1), padding=(k // 2, 0), groups=channels),
            )
            for k in lengths
        )

    def forward(self, x: Tensor) -> Tensor:
        near = finite(self.square(x))
        total = near
        for pair in self.pairs:
            total = total + pair(near)
        return finite(total)
