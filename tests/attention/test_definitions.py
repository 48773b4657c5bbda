"""Kinds of which there is no official value, or a wrong one, against the papers' formulas written out."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

import awb
from tests.attention.checks import maps, module_of


def test_bam_is_the_papers_sum_of_branches() -> None:
    """Equations 2 to 5: 1 + σ(BN(MLP(mean)) + BN(f₁(f₃(f₃(f₁ x))))); the official code multiplies the two."""
    bam: Any = module_of("bam")
    x = maps("bam")
    c, s = bam.channel, bam.spatial
    pooled = x.mean(dim=(2, 3), keepdim=True)
    channel = c[3](c[2](c[0](pooled).relu()))
    first = s[0](x).relu()
    second = F.conv2d(first, s[2].weight, s[2].bias, padding=4, dilation=4).relu()
    third = F.conv2d(second, s[4].weight, s[4].bias, padding=4, dilation=4).relu()
    spatial = s[7](s[6](third))
    torch.testing.assert_close(bam(x), x + x * (channel + spatial).sigmoid())
    official = awb.create_attention("bam", x.shape[1], variant="official")
    assert sum(p.numel() for p in official.parameters()) != sum(p.numel() for p in bam.parameters())


def test_ela_gates_rows_and_columns() -> None:
    """Equations 5 to 8: depthwise convolution of kernel 7 along an axis, group norm of 16 groups, σ."""
    ela: Any = module_of("ela", 32)
    x = torch.randn(2, 32, 9, 8)

    def axis(pooled: torch.Tensor, layers: Any) -> torch.Tensor:
        convolved = F.conv1d(pooled, layers[0].weight, padding=3, groups=32).view(2, 16, 2, -1)
        mean = convolved.mean(dim=(2, 3), keepdim=True)
        variance = (convolved - mean).square().mean(dim=(2, 3), keepdim=True)
        normalised = ((convolved - mean) / (variance + 1e-5).sqrt()).view(2, 32, -1)
        return (normalised * layers[1].weight[:, None] + layers[1].bias[:, None]).sigmoid()

    rows, columns = axis(x.mean(dim=3), ela.height), axis(x.mean(dim=2), ela.width)
    torch.testing.assert_close(ela(x), x * rows[:, :, :, None] * columns[:, :, None, :])


def test_shuffle_attention_without_its_shuffle_keeps_the_channels_in_place() -> None:
    """With it, as in the paper, channel i of one half of the map stands beside channel i of the other."""
    plain: Any = module_of("shuffle")
    shuffled = awb.create_attention("shuffle", 16, shuffle=True).eval()
    shuffled.load_state_dict(plain.state_dict())
    x = maps("shuffle")
    y = plain(x)
    assert torch.equal(shuffled(x), torch.stack([y[:, :8], y[:, 8:]], dim=2).reshape(y.shape))
    assert torch.allclose(y, x * plain.attention_map(x))
