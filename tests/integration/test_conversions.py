"""What people make of a model with blocks: an average of its weights, quantised layers, a feature extractor."""

from __future__ import annotations

import copy

import pytest
import timm.utils
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

import awb
from tests.helpers import perturb
from tests.integration.networks import NAMES, attached, batch, network
from tests.levels import slow_but


@pytest.mark.parametrize("name", slow_but(["test_vit"], NAMES))
def test_an_average_of_the_weights_runs_its_own_blocks(name: str) -> None:
    model, images = attached(name), batch(name, 2)
    average = timm.utils.ModelEmaV3(model, decay=0.75)
    before = copy.deepcopy(model.state_dict())
    perturb(model, seed=1)
    average.update(model)
    expected = copy.deepcopy(model)
    after = model.state_dict()
    mean = {k: 0.75 * v + 0.25 * after[k] if v.is_floating_point() else after[k] for k, v in before.items()}
    expected.load_state_dict(mean)
    found = average(images)
    torch.testing.assert_close(found, expected(images), rtol=0, atol=1e-5)
    assert not torch.allclose(found, model(images), rtol=0, atol=1e-4)
    with awb.awb_disabled(model):
        assert torch.equal(average(images), found)
    with awb.awb_disabled(average):
        assert not torch.allclose(average(images), found, rtol=0, atol=1e-4)


def test_synchronised_batch_norm_before_attaching() -> None:
    images = batch("test_resnet", 2)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(network("test_resnet"))
    plain = model(images)
    awb.attach_awb(model, "all")
    assert torch.equal(model(images), plain)
    perturb(model)
    assert not torch.allclose(model(images), plain, rtol=0, atol=1e-3)
    unconverted = attached("test_resnet")
    unconverted.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(images), unconverted(images), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")  # still widely used
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")  # how it stores weights
@pytest.mark.parametrize("name", slow_but(["test_vit"], ["swin_tiny_patch4_window7_224", "test_vit"]))
def test_dynamic_quantisation(name: str) -> None:
    """The backbone's linear layers become int8; the blocks, convolutions, run on as they were."""
    model, images = attached(name), batch(name, 2)
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    assert not any(type(module) is nn.Linear for module in quantised.modules())
    maps: dict[str, list[tuple[Tensor, Tensor]]] = {path: [] for path in awb.awb_blocks(quantised)}
    for path, block in awb.awb_blocks(quantised).items():
        block.register_forward_hook(lambda _, args, output, path=path: maps[path].append((args[0], output)))
    logits = quantised(images)
    assert logits.isfinite().all()
    for path, block in awb.awb_blocks(model).items():
        ((entering, leaving),) = maps[path]
        assert torch.equal(block(entering), leaving)
        assert not torch.equal(entering, leaving)
    with awb.awb_disabled(quantised):
        assert not torch.allclose(quantised(images), logits, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", slow_but(["test_resnet"], NAMES))
def test_scripting_is_refused_clearly(name: str) -> None:
    with pytest.raises(AttributeError, match=r"torch\.jit\.script .*use torch\.export or torch\.jit\.trace"):
        torch.jit.script(attached(name))


def test_scripting_a_frozen_model_is_refused_clearly() -> None:
    with pytest.raises(AttributeError, match=r"torch\.jit\.script .*use torch\.export or torch\.jit\.trace"):
        torch.jit.script(awb.freeze_backbone(torchvision.models.resnet18()))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # timm's asserts on shapes become constants
@pytest.mark.parametrize("name", slow_but(["test_resnet"], NAMES))
def test_tracing_works_instead_of_scripting(name: str) -> None:
    model, images = attached(name), batch(name, 2)
    torch.testing.assert_close(torch.jit.trace(model, (images,))(images), model(images), rtol=0, atol=1e-5)


def test_hooks_may_be_asked_for_a_name() -> None:
    """Tools that list hooks fall back on a default."""
    model = awb.freeze_backbone(attached("test_vit"))
    hooks = [h for m in model.modules() for h in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
    assert hooks
    assert {getattr(hook, "__name__", "no name") for hook in hooks} == {"no name"}


def test_feature_extractor_returns_what_the_block_does() -> None:
    """torchvision's node `layer4` is the last operation below it, which is now the block's."""
    model = torchvision.models.resnet18().eval()
    awb.attach_awb(model, 4)
    perturb(model)
    images = torch.randn(2, 3, 64, 64)
    seen: list[Tensor] = []
    model.layer4.register_forward_hook(lambda _, __, output: seen.append(output))
    model(images)
    with awb.awb_disabled(model):
        model(images)
    extracted = create_feature_extractor(model, ["layer4"])(images)["layer4"]
    hooked, without_block = seen[:2]
    torch.testing.assert_close(extracted, hooked, rtol=0, atol=1e-6)
    assert not torch.allclose(extracted, without_block, rtol=0, atol=1e-3)
