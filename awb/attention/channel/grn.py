"""Global response normalisation.

Woo et al., "ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders", CVPR 2023, arXiv:2301.00808,
algorithm 1: channels compete by their norms over the map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from awb.attention.info import AttentionInfo, Paper
from awb.attention.precision import as_float32, scaled
from awb.attention.registry import register_attention


@register_attention(
    "grn",
    AttentionInfo(
        "Global response normalisation",
        Paper(
            title="ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders",
            authors="Woo, Sanghyun and Debnath, Shoubhik and Hu, Ronghang and Chen, Xinlei and Liu, Zhuang and "
            "Kweon, In So and Xie, Saining",
            venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
            year=2023,
            arxiv="2301.00808",
        ),
        parameters="2*C",
        identity="exact",
        source="facebookresearch/ConvNeXt-V2, MIT (code)",
        half="norms",
        notes="It adds a bias per channel, so that it is no gate alone, and has no map.",
    ),
)
class GlobalResponseNorm(nn.Module):
    """Global response normalisation, γ·x·g/mean(g) + β + x with g the Euclidean norm of each channel's map.

    Args:
        channels: Number of channels of the N×C×H×W maps.
        eps: Constant added to the mean of the norms.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        full = as_float32(x)
        norm = torch.linalg.vector_norm(full, dim=(2, 3), keepdim=True)
        relative = full * (norm / (norm.mean(dim=1, keepdim=True) + self.eps))
        y: Tensor = full + (scaled(relative, as_float32(self.gamma)) + as_float32(self.beta))
        return y.to(x.dtype)
