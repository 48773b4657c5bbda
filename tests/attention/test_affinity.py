"""Kinds in which positions take shares of each other: their precision, their memory and their devices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import awb


def make(kind: str, channels: int) -> Any:
    torch.manual_seed(0)
    return awb.create_attention(kind, channels)


def open_scales(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if name.endswith("gamma"):
            nn.init.constant_(parameter, 0.5)


@pytest.mark.parametrize("kind", ["a2", "criss_cross", "danet", "efficient"])
def test_shares_and_sums_are_float32_under_autocast(kind: str) -> None:
    attention = make(kind, 64).eval()
    open_scales(attention)
    x = 300 * torch.randn(2, 64, 16, 16)
    with torch.no_grad():
        expected = attention(x)
        with torch.autocast("cpu", dtype=torch.float16):
            shares, y = attention.query_map(x, 3, 5), attention(x)
    assert shares.dtype is torch.float32
    torch.testing.assert_close(shares.sum(dim=(1, 2, 3)), torch.ones(2))
    torch.testing.assert_close(y, expected)


def test_position_attention_stores_no_matrix_of_all_pairs() -> None:
    """The operator that needs none accepts its tensors, and gives the values of the formula."""
    attention = make("danet_position", 16).double()
    open_scales(attention)
    x = torch.randn(2, 16, 7, 5, dtype=torch.float64, requires_grad=True)
    query, key, value = (part.flatten(2) for part in attention.projected(x))
    shares = (query.transpose(1, 2) @ key).softmax(dim=2)
    expected = x + 0.5 * (value @ shares.transpose(1, 2)).view(x.shape)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        found: Tensor = attention(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for one, other in zip(*(torch.autograd.grad(y.square().sum(), x) for y in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["danet_channel", "danet", "danet_position"])
def test_dual_attention_runs_on_the_meta_device(kind: str) -> None:
    x = torch.zeros(1, 16, 4, 3, device="meta")
    assert make(kind, 16).to("meta")(x).shape == x.shape
