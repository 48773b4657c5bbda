"""Channel prior convolutional attention.

Huang et al., "Channel prior convolutional attention for medical image segmentation", Computers in Biology and Medicine
178 (2024) 108784, arXiv:2306.05196, equations 1–4: a gate of channels, then one of elements by strips of three lengths.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from awb.attention.info import AttentionInfo, Paper
from awb.attention.large_kernel.strips import Strips
from awb.attention.limits import hidden_width
from awb.attention.precision import finite, like_weights, map_max, map_mean, without_autocast
from awb.attention.registry import register_attention


@register_attention(
    "cpca",
    AttentionInfo(
        "Channel prior convolutional attention",
        Paper(
            title="Channel prior convolutional attention for medical image segmentation",
            authors="Huang, Hejun and Chen, Zuguo and Zou, Ying and Lu, Ming and Chen, Chaoyang",
            venue="Computers in Biology and Medicine",
            year=2024,
            arxiv="2306.05196",
        ),
        parameters="C*C + C + 2*C*max(1, C//4) + max(1, C//4) + C + C*(25 + 14 + 22 + 42 + 7)",
        source="Cuthbert-Huang/CPCANet, Apache-2.0",
        half="means and logits of channels; its maps are clamped in float16",
        notes="One 1×1 convolution is used three times. It gates a projection of the input, not the input itself, so "
        "that it has no map that multiplies the input.",
    ),
)
class ChannelPriorConvolutionalAttention(nn.Module):
    """Channel prior convolutional attention: y₁ = GELU(Wx) · channel gate, then W(W(strips(y₁)) · y₁).

    Args:
        channels: Number of channels of the N×C×H×W maps.
        channelAttention_reduce: Ratio of channels and the channel gate's hidden width.
    """

    def __init__(self, channels: int, channelAttention_reduce: int = 4) -> None:
        super().__init__()
        hidden = hidden_width(channels, channelAttention_reduce)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)
        self.strips = Strips(channels)
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(finite(self.conv(x)))
        y = y * self._channel_gate(y).to(y.dtype)
        gate = finite(self.conv(self.strips(y)))
        result: Tensor = self.conv(finite(gate * y))
        return result

    def _channel_gate(self, y: Tensor) -> Tensor:
        with without_autocast(y):
            return self._gate(map_mean(y)) + self._gate(map_max(y))

    def _gate(self, pooled: Tensor) -> Tensor:
        logits: Tensor = self.expand(self.reduce(like_weights(pooled, self.reduce)).relu())
        return logits.sigmoid()
