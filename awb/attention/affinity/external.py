"""External attention.

Guo et al., "Beyond Self-attention: External Attention using Two Linear Layers for Visual Tasks", IEEE TPAMI 45 (2023),
arXiv:2105.02358, equations 5–6 and section 3.2: positions attend to a small learned memory in place of each other.
"""

from __future__ import annotations

from torch import Tensor, nn

from awb.attention.info import AttentionInfo, Paper
from awb.attention.limits import require_positive
from awb.attention.precision import as_float32, cleaned, finite, like_weights, without_autocast
from awb.attention.registry import register_attention
from awb.attention.starts import zero


@register_attention(
    "external",
    AttentionInfo(
        "External attention",
        Paper(
            title="Beyond Self-attention: External Attention using Two Linear Layers for Visual Tasks",
            authors="Guo, Meng-Hao and Liu, Zheng-Ning and Mu, Tai-Jiang and Hu, Shi-Min",
            venue="IEEE Transactions on Pattern Analysis and Machine Intelligence",
            year=2023,
            arxiv="2105.02358",
        ),
        parameters="2*C*C + C + 128*C + 2*C",
        source="MenghaoGuo/EANet, no licence",
        half="shares",
        notes="The two memories are parameters of their own; officially they start as one storage, and come apart "
        "when the model is moved or cast. It ends in a ReLU, which destroys maps with signs: it starts by γ. With "
        "last_relu=False it starts as the identity by itself.",
    ),
)
class ExternalAttention(nn.Module):
    """External attention, ReLU(x + norm(W M₁ N(softmax(M₀ W₀x)))), softmax over positions, N: shares sum to 1.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        k: Number of memory slots.
        last_relu: Whether the sum passes a ReLU, as in the paper.

    Raises:
        AWBError: The memory has no slot.
    """

    def __init__(self, channels: int, k: int = 64, last_relu: bool = True) -> None:
        super().__init__()
        require_positive("k", k)
        self.last_relu = last_relu
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.linear_0 = nn.Conv1d(channels, k, 1, bias=False)
        self.linear_1 = nn.Conv1d(k, channels, 1, bias=False)
        self.conv2 = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))

    @property
    def has_identity(self) -> bool:
        """Whether its parameters have values at which it returns its input."""
        return not self.last_relu

    def forward(self, x: Tensor) -> Tensor:
        y = finite(self.conv1(cleaned(x))).flatten(2)
        with without_autocast(x):
            logits = as_float32(self.linear_0(like_weights(as_float32(y), self.linear_0)))
            shares = logits.softmax(dim=2)
            shares = shares / (1e-9 + shares.sum(dim=1, keepdim=True))
            y = self.linear_1(like_weights(shares, self.linear_1))
        change = self.conv2(finite(y).reshape(x.shape).to(x.dtype))
        total: Tensor = x + change
        return total.relu() if self.last_relu else total

    def reset_identity(self) -> None:
        """Make the sum the input: the last norm's scale and shift are 0."""
        zero(self.conv2[1])
