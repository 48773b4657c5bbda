"""What replaces, wraps or reads layers after attaching: blocks run to the same logits, or somebody says so."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm, freeze_batch_norm_2d
from timm.models.resnet import BasicBlock
from timm.models.vision_transformer import Block
from timm.utils.model import reparameterize_model
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.nn.utils import parametrizations, prune

import awb
from tests.helpers import calibrate, perturb, wake_classifier
from tests.integration import networks
from tests.integration.networks import batch

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # deprecations of torch's own tools

LAYERS = {BasicBlock, Block}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return networks.network(name)


def attached(name: str) -> nn.Module:
    torch.manual_seed(0)
    return networks.attached(name)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process group of this process alone."""
    file = tmp_path_factory.mktemp("gloo") / "rendezvous"
    dist.init_process_group("gloo", f"file://{file}", timedelta(seconds=60), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def fsdp(model: nn.Module, use_orig_params: bool) -> nn.Module:
    policy = ModuleWrapPolicy(LAYERS)
    device = torch.device("cpu")
    return FullyShardedDataParallel(model, auto_wrap_policy=policy, device_id=device, use_orig_params=use_orig_params)


def fsdp2(model: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cpu", (1,))
    for module in list(model.modules()):
        if isinstance(module, tuple(LAYERS)):
            fully_shard(module, mesh=mesh)
    return fully_shard(model, mesh=mesh)


WRAPPERS: dict[str, Any] = {
    "DDP": nn.parallel.DistributedDataParallel,
    "DataParallel": nn.DataParallel,
    "FSDP1": lambda model: fsdp(model, use_orig_params=True),
    "FSDP1, flat": lambda model: fsdp(model, use_orig_params=False),
    "FSDP2": fsdp2,
    "torch.compile": lambda model: torch.compile(model, backend="eager"),
}


@pytest.mark.parametrize("way", WRAPPERS)
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_wrapped(name: str, way: str, process: None, tmp_path: Path) -> None:
    torch._dynamo.reset()
    model, images = attached(name), batch(name, 2)
    expected = model(images).detach()
    wrapped = WRAPPERS[way](model)
    logits = wrapped(images)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)
    logits.sum().backward()
    assert all(p.grad is not None for p in awb.awb_parameters(wrapped))
    assert len(awb.summary(wrapped)) == len(awb.awb_blocks(wrapped)) > 3
    with torch.no_grad(), awb.awb_disabled(wrapped):
        assert not torch.allclose(wrapped(images), expected, rtol=0, atol=1e-6)
    if way != "FSDP1, flat":  # whose parameters have lost their shapes
        awb.save_awb(wrapped, tmp_path / "blocks.safetensors")
        loaded = awb.load_awb(network(name), tmp_path / "blocks.safetensors")
        torch.testing.assert_close(loaded(images), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
@torch.no_grad()
def test_a_compiled_layer_without_its_block(name: str) -> None:
    """What was compiled keeps the call of the class that the layer had while a block followed it."""
    torch._dynamo.reset()
    model, images = attached(name), batch(name, 2)
    layers = model.layer4 if name == "test_resnet" else model.blocks
    layers[0] = torch.compile(layers[0], backend="eager")
    model(images)
    awb.detach_awb(model)
    assert torch.equal(model(images), network(name)(images))


def efficientnet() -> tuple[nn.Module, nn.Module, Tensor]:
    """With a block on a batch norm that is a child of the model itself, and the same without it."""
    images = torch.randn(2, 3, 64, 64)
    bare = timm.create_model("test_efficientnet", pretrained=False).eval()
    calibrate(bare, images)
    model = awb.attach_awb(copy.deepcopy(bare), "after", input_size=64)
    perturb(model)
    return bare, model, images


@torch.no_grad()
def test_synchronised_batch_norm_at_a_child_of_the_model() -> None:
    _, model, images = efficientnet()
    expected = model(images)
    assert list(awb.awb_blocks(model)) == ["bn2.awb"]
    converted = convert_sync_batchnorm(model)
    for use in (converted, converted.forward_features, converted.forward_intermediates):
        with pytest.raises(awb.LostBlockError, match="rehook_awb"):
            use(images)
    with pytest.raises(awb.LostBlockError, match="rehook_awb"):
        awb.summary(converted)
    assert torch.equal(awb.rehook_awb(converted)(images), expected)
    assert torch.equal(converted.forward_head(converted.forward_features(images)), expected)


@torch.no_grad()
def test_frozen_batch_norm_takes_its_block_along() -> None:
    bare, model, images = efficientnet()
    expected = bare(images)
    frozen = freeze_batch_norm_2d(model)
    for use in (frozen, frozen.forward_features, awb.rehook_awb, awb.summary):
        with pytest.raises(awb.LostBlockError, match="forget=True"):
            use(images) if use not in (awb.rehook_awb, awb.summary) else use(frozen)
    torch.testing.assert_close(awb.rehook_awb(frozen, forget=True)(images), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    "name", ["repvgg_a0", "mobileone_s0", "fastvit_t8", "repvit_m1", "repghostnet_050", "levit_128s"]
)
def test_reparameterised(name: str) -> None:
    """timm's `reparameterize_model` fuses branches: what blocks follow stays, or the block says that it is gone."""
    size = 224 if name == "levit_128s" else 64
    images = torch.randn(2, 3, size, size)
    bare = timm.create_model(name, pretrained=False, num_classes=5).eval()
    calibrate(bare, images)
    wake_classifier(bare)
    model = awb.attach_awb(bare, "all", input_size=size)
    perturb(model, 0.01)
    expected = model(images)
    fused = reparameterize_model(model)
    if name == "levit_128s":  # its token grid was shown by a convolution that is fused away
        with pytest.raises(awb.AWBError, match="shows the grid"):
            fused(images)
        awb.rehook_awb(fused)
    logits = fused(images)
    assert float((logits - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    assert len(awb.summary(fused)) == len(awb.awb_blocks(fused)) > 2


PRUNED = {
    "prune a layer of the site": lambda m: prune.l1_unstructured(m.layer4[-1].conv1, "weight", 0.3),
    "prune a layer of the block": lambda m: prune.l1_unstructured(m.layer4[-1].awb.attention.pointwise, "weight", 0.3),
    "weight norm of the site": lambda m: parametrizations.weight_norm(m.layer4[-1].conv2),
    "weight norm of the block": lambda m: parametrizations.weight_norm(m.layer4[-1].awb.attention.pointwise),
    "spectral norm of the stem": lambda m: parametrizations.spectral_norm(m.conv1[0]),
}


@torch.no_grad()
@pytest.mark.parametrize("way", PRUNED)
def test_pruned_and_parametrised(way: str) -> None:
    """The block still runs, on what pruning has left."""
    model, images = attached("test_resnet"), batch("test_resnet", 2)
    PRUNED[way](model)
    logits = model(images)
    assert len(awb.summary(model)) == 4
    last = awb.awb_blocks(model)["layer4.0.awb"]
    last.enabled = False
    assert not torch.equal(model(images), logits)
    last.enabled = True
    awb.detach_awb(model)
    assert not awb.awb_blocks(model)


@torch.no_grad()
def test_parametrised_site() -> None:
    """A parametrisation puts a class over the site's own."""
    images = torch.randn(2, 3, 64, 64)
    model = awb.attach_awb(network("test_resnet"), "layer4.0.conv2")
    perturb(model)
    expected = model(images)
    parametrizations.weight_norm(model.layer4[0].conv2)
    torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-6)
    assert len(awb.summary(model)) == 1
    nn.utils.parametrize.remove_parametrizations(model.layer4[0].conv2, "weight")
    torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-6)
    awb.detach_awb(model)
    torch.testing.assert_close(model(images), network("test_resnet")(images), rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("site", ["layer4.0.conv2", "layer4.0.bn2"])
def test_eager_fusion_of_a_site(site: str) -> None:
    """torch.ao fuses a convolution and its batch norm by their exact classes; a block between them forbids it."""
    images = torch.randn(2, 3, 64, 64)
    model = awb.attach_awb(network("test_resnet"), site)
    perturb(model)
    expected = model(images)
    with pytest.raises(AssertionError, match="did not find fuser method"):  # to torch.ao it is of another class
        torch.ao.quantization.fuse_modules(model, [["layer4.0.conv2", "layer4.0.bn2"]])
    assert torch.equal(model(images), expected)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
@torch.no_grad()
def test_saved_from_what_was_wrapped(name: str, tmp_path: Path) -> None:
    """A model with a compiled layer inside is saved as the model attached to."""
    torch._dynamo.reset()
    model, images = attached(name), batch(name, 2)
    expected = model(images)
    layers = model.layer4 if name == "test_resnet" else model.blocks
    layers[0] = torch.compile(layers[0], backend="eager")
    awb.save_awb(model, tmp_path / "blocks.safetensors")
    assert torch.equal(awb.load_awb(network(name), tmp_path / "blocks.safetensors")(images), expected)
