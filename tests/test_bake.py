"""Baked blocks: ordinary layers, equal to the bit, in every tool."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import awb
from awb.bake import Baked
from tests.helpers import gradients, perturb, snapshot, wake_classifier
from tests.levels import slow_but

NETWORKS: list[tuple[str, Any]] = [
    ("test_resnet", "all"), ("test_vit", "all"), ("test_convnext", "all"), ("test_mambaout", "all"),
    ("test_efficientnet", "after"), ("pit_ti_224", "all"), ("hiera_tiny_224", [1, 2]), ("levit_128s", "last"),
]  # fmt: skip


def attached(name: str, stages: Any, **kwargs: Any) -> tuple[nn.Module, Tensor]:
    model = timm.create_model(name, pretrained=False, **kwargs).eval()
    wake_classifier(model)
    awb.attach_awb(model, stages)
    perturb(model)
    return model, torch.randn(2, 3, *((160, 160) if name.startswith("test") else (224, 224)))


@pytest.mark.parametrize(("name", "stages"), slow_but(NETWORKS[:2], NETWORKS))
def test_outputs_are_equal_to_the_bit_and_no_hook_is_left(name: str, stages: Any) -> None:
    model, images = attached(name, stages)
    with torch.no_grad():  # LeViT keeps what it has computed, and a graph cannot be copied
        expected, features = model(images), model.forward_features(images)
    count = len(awb.awb_blocks(model))
    baked = awb.bake(copy.deepcopy(model))
    assert torch.equal(baked(images), expected)
    for found, wanted in zip(_tensors(baked.forward_features(images)), _tensors(features), strict=True):
        assert torch.equal(found, wanted)
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_load_state_dict_pre_hooks", "_state_dict_hooks")
    assert not any(getattr(m, name) for m in baked.modules() for name in hooks)
    assert len(awb.awb_blocks(baked)) == count
    assert torch.equal(copy.deepcopy(baked)(images), expected)
    file = io.BytesIO()
    torch.save(baked, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(images), expected)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


@pytest.mark.parametrize(("name", "stages"), slow_but(NETWORKS[:2], NETWORKS[:6]))
def test_keys_change_by_the_rule_that_is_documented(name: str, stages: Any) -> None:
    model, _ = attached(name, stages)
    before = model.state_dict()
    blocks = [block.planned for block in awb.awb_blocks(model).values()]
    sites = {b.site.module for b in blocks} | {b.grid_source[0] for b in blocks if b.grid_source}
    homes = {f"{b.home}.awb": f"{b.site.module}.awb" for b in blocks}

    def renamed(key: str) -> str:
        for home, site in homes.items():
            if key.startswith(f"{home}."):
                key, rest = site[: -len(".awb")], key[len(home) :]
                return _below(key, sites - {key}) + ".awb" + rest
        return _below(key, sites)

    assert {renamed(key) for key in before} == set(awb.bake(model).state_dict())


def _below(key: str, sites: set[str]) -> str:
    """The key with `.layer` behind each site that it is below."""
    for site in sorted(sites, key=len, reverse=True):
        if key.startswith(f"{site}."):
            key = f"{site}.layer{key[len(site) :]}"
    return key


def test_conversions_carry_baked_blocks_along() -> None:
    model = awb.attach_awb(torchvision.models.resnet18(num_classes=4).eval(), ["layer3.1.bn2", 4], input_size=64)
    perturb(model)
    images = torch.randn(2, 3, 64, 64)
    expected = model(images)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(awb.bake(model)).eval()
    torch.testing.assert_close(converted(images), expected, rtol=1e-4, atol=1e-5)
    assert len(awb.awb_blocks(converted)) == 2


def test_what_hangs_on_a_site_hangs_behind_its_blocks() -> None:
    model, images = attached("test_resnet", 4)
    seen: list[Tensor] = []
    handle = model.layer4[0].register_forward_hook(lambda _, __, output: seen.append(output))
    gradient: list[Tensor] = []
    model.layer4[0].register_full_backward_hook(lambda _, __, out: gradient.append(out[0]))
    model(images).sum().backward()
    awb.bake(model)
    model(images).sum().backward()
    assert torch.equal(*seen)
    torch.testing.assert_close(*gradient)
    handle.remove()
    model(images)
    assert len(seen) == 2


def test_baked_blocks_learn_as_before() -> None:
    model, images = attached("test_resnet", [3, 4])
    expected = gradients(model, images)
    found = gradients(awb.bake(model), images)
    assert sorted(map(_sum, found.values())) == sorted(map(_sum, expected.values()))


def _sum(gradient: Tensor) -> float:
    return gradient.double().sum().item()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # timm's asserts on shapes become constants
@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_exports(name: str) -> None:
    model, images = attached(name, "all")
    expected = model(images)
    baked = awb.bake(model)
    torch.testing.assert_close(torch.export.export(baked, (images,)).module()(images), expected, rtol=0, atol=1e-5)
    traced = torch.jit.trace(baked, (images,), check_trace=False)
    torch.testing.assert_close(traced(images), expected, rtol=0, atol=1e-5)
    torch._dynamo.reset()
    compiled = torch.compile(baked, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_onnx() -> None:
    import onnxruntime

    model, images = attached("test_resnet", [3, 4])
    expected = model(images)
    file = io.BytesIO()
    torch.onnx.export(awb.bake(model), (images,), file, dynamo=False, input_names=["images"])
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: awb.detach_awb(m), "has no attention blocks"),
        (lambda m: nn.DataParallel(awb.attach_awb(m, 4)), "wrapped in DataParallel"),
        (lambda m: awb.bake(awb.attach_awb(m, 4)), "baked in already"),
        (lambda m: "resnet18", "model is a str"),
    ],
)
def test_what_cannot_be_baked_is_as_before(make: Any, message: str) -> None:
    model = awb.attach_awb(timm.create_model("test_resnet", pretrained=False).eval(), 3)
    model = make(awb.detach_awb(model) if message != "has no attention blocks" else model)
    before = snapshot(model) if isinstance(model, nn.Module) else None
    with pytest.raises(awb.AWBError, match=message):
        awb.bake(model)
    assert before is None or before["children"] == snapshot(model)["children"]


@pytest.mark.parametrize("use", [awb.detach_awb, awb.awb_state_dict, awb.rehook_awb])
def test_there_is_no_way_back(use: Any) -> None:
    model, _ = attached("test_resnet", 4)
    awb.bake(model)
    with pytest.raises(awb.AWBError, match="baked in"):
        use(model)
    assert isinstance(model.layer4[0], Baked)
    assert [row["site"] for row in awb.summary(model)] == ["layer4.0"]
