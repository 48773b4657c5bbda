"""An attention kind as users register it, for recipes with `imports`."""

from __future__ import annotations

from torch import Tensor, nn

import awb


@awb.register_attention("halves")
class Halves(nn.Module):
    """Half of its input."""

    def __init__(self, channels: int, share: float = 0.5) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return self.share * x
