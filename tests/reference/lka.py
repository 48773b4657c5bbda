"""Large Kernel Attention, from equations 1–2 of "Visual Attention Network" (arXiv:2202.09741)."""

from __future__ import annotations

from torch import Tensor, nn


class HandLKA(nn.Module):
    """Attention = conv1×1(DW-D-conv(DW-conv(F))); output = attention ⊗ F, for the 5×5 and 7×7 (dilation 3) kernels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.conv_spatial = nn.Conv2d(dim, dim, 7, stride=1, padding=9, groups=dim, dilation=3)
        self.conv1 = nn.Conv2d(dim, dim, 1)

    def forward(self, f: Tensor) -> Tensor:
        attention = self.conv1(self.conv_spatial(self.conv0(f)))
        return attention * f
