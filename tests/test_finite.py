"""A block that starts as the identity returns its input, whatever is not finite in it or overflows on the way."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import awb
from tests.attention.shapes import attached, some_channels
from tests.levels import slow_but

KINDS = awb.list_attention()


def block(kind: str, least: int = 64, side: int = 16) -> nn.Module:
    return attached(kind, some_channels(kind, least), side, side)[1]


def same(x: Tensor, y: Tensor) -> bool:
    return torch.equal(x.isnan(), y.isnan()) and torch.equal(x[~x.isnan()], y[~y.isnan()])


@pytest.mark.slow
@pytest.mark.parametrize("train", slow_but([True], [True, False]))
@pytest.mark.parametrize("dtype", slow_but([torch.float16], [torch.float16, torch.bfloat16]))
@pytest.mark.parametrize("kind", KINDS)
def test_large_maps_in_half_precision(kind: str, dtype: torch.dtype, train: bool) -> None:
    x = 30 * torch.randn(2, some_channels(kind, 64), 16, 16)
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype):
        assert same(block(kind).train(train)(x), x)
        assert same(block(kind).train(train)(x.to(dtype)), x.to(dtype))
    x = (60 * torch.randn(2, some_channels(kind, 512), 14, 14)).to(dtype)
    with torch.no_grad():
        assert same(block(kind, 512, 14).train(train).to(dtype)(x), x)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("bad", slow_but([math.inf], [math.inf, -math.inf, math.nan]))
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finite_stays_where_it_is(kind: str, bad: float, train: bool) -> None:
    attached = block(kind).train(train)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        x = torch.randn(2, some_channels(kind, 64), 16, 16).to(dtype)
        x[0, 3, 4, 5] = bad
        assert same(copy.deepcopy(attached).to(dtype)(x), x)


@pytest.mark.parametrize("kind", KINDS)
def test_it_still_learns(kind: str) -> None:
    attached: Any = block(kind)
    x = torch.randn(2, some_channels(kind, 64), 16, 16)
    (attached(x) * torch.randn(x.shape)).sum().backward()
    gradients = {name: p.grad for name, p in attached.named_parameters() if p.grad is not None}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert any(gradient.all() for gradient in gradients.values())
    assert attached.gamma is None or gradients["gamma"].all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_of_non_local_attention_are_finite_in_half_precision(dtype: torch.dtype) -> None:
    attached = block("nl")
    x = (30 * torch.randn(2, 64, 16, 16)).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        y = attached(x)
    y.float().square().mean().backward()
    gradients = [x.grad, *(p.grad for p in attached.parameters())]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_non_local_attention_is_timms() -> None:
    from timm.layers import create_attn

    ours, theirs = (make("nl", 32).eval() for make in (awb.create_attention, create_attn))
    assert [*ours.state_dict()] == [*theirs.state_dict()]
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.1)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 32, 9, 7)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("kind", ["lka", "van", "nl", "timm_se"])
def test_values_that_broke_in_training_are_not_hidden(kind: str) -> None:
    attached: Any = block(kind).eval()
    last = {"lka": "pointwise.bias", "van": "project_out.bias", "nl": "norm.weight", "timm_se": "fc2.bias"}[kind]
    with torch.no_grad():
        attached.get_parameter(f"attention.{last}").fill_(float("nan"))
        if attached.gamma is not None:
            attached.gamma.fill_(0.1)
        assert attached(torch.randn(1, 64, 16, 16)).isnan().all()
