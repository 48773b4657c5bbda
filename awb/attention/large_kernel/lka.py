"""Large Kernel Attention.

Guo et al., "Visual Attention Network", Computational Visual Media 9 (2023), arXiv:2202.09741, equations 1–2:
a large-kernel convolution decomposed into a depthwise, a dilated depthwise and a pointwise one, whose output
multiplies the input.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_choice, require_odd, require_positive
from awb.attention.precision import cleaned, finite
from awb.attention.registry import register_attention
from awb.attention.starts import PointwiseGate
from awb.kernels import BACKENDS, Backend, polyphase_lka_map, use_polyphase

VAN_PAPER = Paper(
    title="Visual Attention Network",
    authors="Guo, Meng-Hao and Lu, Cheng-Ze and Liu, Zheng-Ning and Cheng, Ming-Ming and Hu, Shi-Min",
    venue="Computational Visual Media",
    year=2023,
    arxiv="2202.09741",
)


@register_attention(
    "lka",
    AttentionInfo(
        "Large Kernel Attention",
        VAN_PAPER,
        gates=("element",),
        parameters="C*(25 + 49 + C + 3)",
        identity="setting",
        source="Visual-Attention-Network/VAN-Classification, Apache-2.0",
        half="nothing; its maps are clamped in float16",
        notes="The map is not bounded, and sees 23×23 positions.",
    ),
)
class LKA(PointwiseGate):
    """Large Kernel Attention, x · pointwise(dilated(depthwise(x))): 23×23 receptive field, C·(25 + 49 + C + 3) weights.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        kernel_size: Side of the depthwise kernel.
        dilated_kernel_size: Side of the dilated depthwise kernel.
        dilation: Dilation of the dilated depthwise kernel.
        backend: Method of computing the map; values agree up to rounding. `"stock"`: by PyTorch's convolutions;
            `"polyphase"`: the dilated one on interleaved sub-maps, with fast weight gradients; `"auto"`: the faster,
            as measured (docs/performance.md).

    The map is not bounded. With PyTorch's default initialisation it is near 0, so that a fresh block leaves
    7–20 % of its input; after `reset_identity()` it is exactly 1.

    Raises:
        AWBError: A kernel size is even, a number is not positive, or the backend is unknown.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 5,
        dilated_kernel_size: int = 7,
        dilation: int = 3,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        require_choice("backend", backend, tuple(BACKENDS))
        for name, size in (("kernel_size", kernel_size), ("dilated_kernel_size", dilated_kernel_size)):
            require_odd(name, size, "the map keeps its size")
        require_positive("dilation", dilation)
        self.backend = backend
        # padding as numbers: fvcore does not count convolutions with padding="same"
        reach = dilation * (dilated_kernel_size // 2)
        self.depthwise = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)
        self.dilated = nn.Conv2d(
            channels, channels, dilated_kernel_size, padding=reach, dilation=dilation, groups=channels
        )
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        return {"element": self.attention_map(x)}

    def attention_map(self, x: Tensor) -> Tensor:
        """N×C×H×W map that multiplies `x`; unbounded, and 1 everywhere after `reset_identity()`.

        Values that are not finite count as 0 here: they stay where they are in `x`, and do not spread to neighbours.
        """
        x = cleaned(x)
        if use_polyphase(self.backend, x, (self.depthwise, self.dilated, self.pointwise)):
            return self._polyphase_map(x)
        attention: Tensor = self.dilated(finite(self.depthwise(x)))
        attention = self.pointwise(finite(attention))
        return attention

    def _polyphase_map(self, x: Tensor) -> Tensor:
        weights = []
        for convolution in (self.depthwise, self.dilated, self.pointwise):
            assert convolution.bias is not None
            weights.append((convolution.weight, convolution.bias))
        depthwise, dilated, pointwise = weights
        return polyphase_lka_map(x, depthwise, dilated, pointwise, self.dilated.dilation[0])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention_map(x)
