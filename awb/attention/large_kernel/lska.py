"""Large Separable Kernel Attention.

Lau et al., "Large Separable Kernel Attention: Rethinking the Large Kernel Attention Design in CNN", Expert Systems with
Applications 236 (2024), arXiv:2309.01439, equations 8–12: LKA with each kernel split into a row and a column.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from awb.attention.info import AttentionInfo, Paper
from awb.attention.precision import cleaned, finite
from awb.attention.registry import register_attention
from awb.attention.starts import PointwiseGate
from awb.errors import AWBError

_KERNELS = {7: (3, 3, 2), 11: (3, 5, 2), 23: (5, 7, 3), 35: (5, 11, 3), 41: (5, 13, 3), 53: (5, 17, 3)}


@register_attention(
    "lska",
    AttentionInfo(
        "Large Separable Kernel Attention",
        Paper(
            title="Large Separable Kernel Attention: Rethinking the Large Kernel Attention Design in CNN",
            authors="Lau, Kin Wai and Po, Lai-Man and Rehman, Yasar Abbas Ur",
            venue="Expert Systems with Applications",
            year=2024,
            arxiv="2309.01439",
        ),
        gates=("element",),
        parameters="C*(2*5 + 2*7 + C + 5)",
        identity="setting",
        source="StevenLauHKHK/Large-Separable-Kernel-Attention, Apache-2.0",
        half="nothing; its maps are clamped in float16",
        notes="kernel_size=23 sees 23×23 positions as LKA does; the map is not bounded.",
    ),
)
class LSKA(PointwiseGate):
    """Large Separable Kernel Attention, x · 1×1(K×1(1×K(k×1(1×k(x))))), the last two strips dilated.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        kernel_size: Side of the area that is seen: 7, 11, 23, 35, 41 or 53, by the paper's table.

    Raises:
        AWBError: The paper has no kernels for this size.
    """

    def __init__(self, channels: int, kernel_size: int = 23) -> None:
        super().__init__()
        if kernel_size not in _KERNELS:
            near = min(_KERNELS, key=lambda size: abs(size - kernel_size))
            raise AWBError(
                f"kernel_size={kernel_size}: lska has {', '.join(map(str, _KERNELS))}; the nearest is {near}"
            )
        near_size, far_size, dilation = _KERNELS[kernel_size]
        reach = dilation * (far_size // 2)

        def strip(kernel: tuple[int, int], padding: tuple[int, int], d: int) -> nn.Conv2d:
            return nn.Conv2d(channels, channels, kernel, padding=padding, dilation=d, groups=channels)

        self.row = strip((1, near_size), (0, near_size // 2), 1)
        self.column = strip((near_size, 1), (near_size // 2, 0), 1)
        self.dilated_row = strip((1, far_size), (0, reach), dilation)
        self.dilated_column = strip((far_size, 1), (reach, 0), dilation)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        y = cleaned(x)
        for strip in (self.row, self.column, self.dilated_row, self.dilated_column):
            y = finite(strip(y))
        return {"element": self.pointwise(y)}
