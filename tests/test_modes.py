"""The ways people run a model: checkpointing, feature extraction, autocast, memory formats, compile, export, FX."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import awb
from tests.helpers import gradients, perturb, wake_classifier
from tests.levels import slow_but

NAMES = ["test_resnet", "test_vit", "test_convnext", "test_mambaout", "test_efficientnet", "test_nfnet"]


def attached(name: str, stages: Any = "all", **kwargs: Any) -> nn.Module:
    model = timm.create_model(name, pretrained=False).eval()
    wake_classifier(model)
    awb.attach_awb(model, stages, **kwargs)
    perturb(model)
    return model


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 160, 160)


@pytest.mark.parametrize("name", slow_but(["test_resnet", "test_vit"], NAMES))
def test_gradient_checkpointing_gives_equal_gradients(name: str, images: Tensor) -> None:
    """timm flattens stages under checkpointing: a hook on the container would not be called."""
    model = attached(name)
    expected = gradients(model, images)
    model.set_grad_checkpointing(True)
    found = gradients(model, images)
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        assert torch.allclose(found[key], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max())), key


@pytest.mark.parametrize("name", slow_but(["test_resnet", "test_vit"], NAMES))
def test_forward_features_and_intermediates_run_the_blocks(name: str, images: Tensor) -> None:
    model = attached(name, "last")
    with awb.awb_disabled(model):
        plain = model.forward_features(images), model.forward_intermediates(images)[0]
    for off, on in zip(plain, (model.forward_features(images), model.forward_intermediates(images)[0]), strict=True):
        assert not torch.equal(off, on)


@pytest.mark.parametrize("kind", ["lka", "se"])
@pytest.mark.parametrize("name", slow_but(["test_resnet"], ["test_resnet", "test_vit"]))
def test_autocast_keeps_the_maps_dtype(name: str, kind: str, images: Tensor) -> None:
    """A float32 γ would turn bfloat16 maps into float32."""
    model = timm.create_model(name, pretrained=False).eval()
    dtypes: dict[str, list[torch.dtype]] = {"before": [], "after": []}
    awb.attach_awb(model, "all", attention=kind)
    for block in awb.awb_blocks(model).values():
        block.register_forward_pre_hook(lambda _, args: dtypes["before"].append(args[0].dtype))
        block.register_forward_hook(lambda _, __, output: dtypes["after"].append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        with awb.awb_disabled(model):
            plain = model(images)
        assert torch.equal(model(images), plain)
    assert dtypes["before"] == dtypes["after"]


@pytest.mark.parametrize("kind", ["lka", "van", "se"])
def test_overflow_in_float16_does_not_make_nan(kind: str) -> None:
    site = awb.Site("x", None, 4, "NCHW", (9, 9))
    planned = awb.PlannedBlock(1, "x", 1, site, "x", None, kind, {}, "identity")
    block = awb.AWB(planned).half()
    with torch.no_grad():
        for name, parameter in block.attention.named_parameters():
            if "pointwise" not in name and "project_out" not in name:
                parameter.fill_(100.0)
    x = torch.full((1, 4, 9, 9), 6e4, dtype=torch.float16)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("name", slow_but(["test_resnet"], ["test_resnet", "test_vit", "test_convnext"]))
def test_channels_last(name: str, images: Tensor) -> None:
    model = attached(name)
    expected = model(images)
    found = model.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_channels_last_maps_stay_channels_last(images: Tensor) -> None:
    block = awb.LKA(8)
    x = torch.randn(2, 8, 12, 12).contiguous(memory_format=torch.channels_last)
    assert block(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_mambaout"])
def test_compile_fullgraph(name: str, images: Tensor) -> None:
    model = attached(name)
    expected = model(images)
    torch._dynamo.reset()
    assert torch.allclose(torch.compile(model, fullgraph=True, backend="eager")(images), expected, atol=1e-5)


@pytest.mark.slow
def test_compile_follows_freezing_and_disabling(images: Tensor) -> None:
    model = awb.freeze_backbone(attached("test_resnet")).train()
    expected = model(images)
    torch._dynamo.reset()
    compiled = torch.compile(model.train(), fullgraph=True, backend="eager")
    assert torch.allclose(compiled(images), expected, atol=1e-5)
    with awb.awb_disabled(model):
        plain = model(images)
        assert torch.allclose(compiled(images), plain, atol=1e-5)
    assert torch.allclose(compiled(images), expected, atol=1e-5)


def test_compile_still_notices_a_lost_block(images: Tensor) -> None:
    model = attached("test_resnet", 4)
    model.layer4 = nn.Sequential(*timm.create_model("test_resnet", pretrained=False).layer4)
    torch._dynamo.reset()
    with pytest.raises(Exception, match=r"no longer runs|LostBlockError"):
        torch.compile(model.eval(), fullgraph=True, backend="eager")(images)


@pytest.mark.parametrize("name", slow_but(["test_resnet"], ["test_resnet", "test_vit"]))
def test_export(name: str, images: Tensor) -> None:
    model = attached(name)
    program = torch.export.export(model, (images,))
    assert torch.allclose(program.module()(images), model(images), atol=1e-5)


def test_fx_trace(images: Tensor) -> None:
    model = attached("test_resnet")
    graph = torch.fx.symbolic_trace(model)
    assert torch.allclose(graph(images), model(images), atol=1e-5)


def test_functional_call_runs_on_given_parameters(images: Tensor) -> None:
    model = attached("test_resnet")
    doubled = {name: 1.1 * p for name, p in model.named_parameters() if ".awb." in name}
    found = torch.func.functional_call(model, doubled, (images,))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in doubled:
                parameter.mul_(1.1)
    assert torch.allclose(found, model(images), atol=1e-5)


def test_inference_mode(images: Tensor) -> None:
    """Blocks attached inside it can still be trained afterwards."""
    model = timm.create_model("test_vit", pretrained=False).eval()
    with torch.inference_mode():
        expected = model(images)
        awb.attach_awb(model, "all")
        assert torch.equal(model(images), expected)
    assert all(gradient.isfinite().all() for gradient in gradients(model, images).values())
