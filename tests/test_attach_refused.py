"""What attach and detach refuse: every error says what was expected, and leaves the model as it was."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

import awb
from tests.helpers import assert_same, snapshot


def resnet() -> nn.Module:
    return timm.create_model("test_resnet", pretrained=False).eval()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"stage": 3}, "did you mean stages=?"),
        ({"attention": "lak"}, "did you mean 'lka'"),
        ({"attention": "ge"}, "'ge' is not offered: .* cannot be built"),
        ({"attention": "bottleneck"}, "needs the map's size"),
        ({"attention": "sk"}, "batch size 1"),
        ({"kernel": 3}, "did you mean kernel_size="),
        ({"init": "zeros"}, "expected 'identity' or 'default'"),
        ({"kernel_size": 4}, "expected an odd number"),
        ({"attention": "lambda", "stages": 1, "num_heads": 5}, "with num_heads=5 cannot be built"),
        ({"kernel_size": "5"}, "with kernel_size='5' cannot be built"),
        ({"stages": 9}, "no stage 9"),
        ({"input_size": "big"}, "input_size"),
    ],
)
def test_bad_requests_leave_no_trace(kwargs: dict[str, Any], message: str) -> None:
    model = resnet()
    before = snapshot(model)
    with pytest.raises(awb.AWBError, match=message):
        awb.attach_awb(model, **kwargs)
    assert_same(before, snapshot(model))


def test_a_kind_that_fails_on_the_last_stage_leaves_no_trace() -> None:
    @awb.register_attention("only_narrow")
    def only_narrow(channels: int) -> nn.Module:
        if channels > 100:
            raise RuntimeError("too wide")
        return nn.Identity()

    model = resnet()
    before = snapshot(model)
    with pytest.raises(awb.AWBError, match="too wide"):
        awb.attach_awb(model, "all", attention="only_narrow")
    assert_same(before, snapshot(model))


def test_a_kind_that_changes_the_shape_is_refused() -> None:
    @awb.register_attention("halves")
    def halves(channels: int) -> nn.Module:
        return nn.AvgPool2d(2)

    with pytest.raises(awb.AWBError, match="it must keep the shape"):
        awb.attach_awb(resnet(), attention="halves")


def test_attaching_twice_names_replace() -> None:
    model = awb.attach_awb(resnet(), 4)
    with pytest.raises(awb.AWBError, match="replace=True"):
        awb.attach_awb(model, 4)
    old = awb.awb_blocks(model)["layer4.0.awb"]
    awb.attach_awb(model, 4, attention="se", replace=True)
    assert awb.awb_blocks(model)["layer4.0.awb"] is not old
    calls: list[int] = []
    awb.awb_blocks(model)["layer4.0.awb"].register_forward_hook(lambda *_: calls.append(1))
    model(torch.randn(2, 3, 64, 64))
    assert calls == [1]


def test_detach_needs_blocks() -> None:
    for function in (awb.detach_awb, awb.summary, awb.awb_state_dict):
        with pytest.raises(awb.AWBError, match="no attention blocks"):
            function(resnet())


@pytest.mark.parametrize("wrap", ["compile", "inplace", "inner", "script"])
def test_compiled_and_scripted_models_are_refused(wrap: str) -> None:
    model: Any = resnet()
    if wrap == "compile":
        model = torch.compile(model, backend="eager")
    elif wrap == "inplace":
        model.compile(backend="eager")
    elif wrap == "inner":
        model.layer1.compile(backend="eager")
    else:
        model = torch.jit.trace(model, torch.zeros(1, 3, 64, 64))
    with pytest.raises(awb.AWBError, match="attach, then freeze, then wrap or compile, then make the optimiser"):
        awb.attach_awb(model)


def test_data_parallel_is_refused() -> None:
    with pytest.raises(awb.AWBError, match="wrapped in DataParallel"):
        awb.attach_awb(nn.DataParallel(resnet()))


def test_a_name_that_is_taken_is_refused() -> None:
    model = resnet()
    model.layer4[0].awb = nn.Identity()
    with pytest.raises(awb.AWBError, match="already has a child named 'awb'"):
        awb.attach_awb(model, 4)
