"""Blocks made without values, and loaded afterwards: they come up as planned, or say that they did not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from torch import nn

import awb
from tests.helpers import perturb
from tests.levels import slow_but


def built(name: str, meta: bool = True, **kwargs: Any) -> nn.Module:
    with torch.device("meta" if meta else "cpu"):
        model = timm.create_model(name, pretrained=False, num_classes=3).eval()
        return awb.attach_awb(model, "all", **kwargs).eval()


KINDS = [("test_vit", "lka"), ("test_vit", "se"), ("test_resnet", "lka"), ("hiera_tiny_224", "lka")]


@pytest.mark.parametrize(("name", "kind"), slow_but([("test_resnet", "lka")], KINDS))
def test_emptied_blocks_start_as_planned_and_take_what_is_loaded(name: str, kind: str) -> None:
    """γ, LKA's bias and the order of Hiera's tokens are not in the backbone's checkpoint."""
    base = timm.create_model(name, pretrained=False, num_classes=3).eval()
    images = torch.randn(1, 3, *((224, 224) if name.startswith("hiera") else (160, 160)))
    model = built(name, attention=kind).to_empty(device="cpu")
    model.load_state_dict(base.state_dict(), strict=False)
    assert torch.equal(model(images), base(images))
    trained = awb.attach_awb(copy.deepcopy(base), "all", attention=kind)
    perturb(trained)
    again = built(name, attention=kind).to_empty(device="cpu")
    again.load_state_dict(trained.state_dict())
    assert torch.equal(again(images), trained(images))


def test_emptied_blocks_are_noticed_whatever_the_memory_held_before() -> None:
    """An allocator may hand out again what an earlier move has freed."""
    planned = awb.awb_blocks(built("test_vit", attention="se"))["blocks.0.awb"].planned
    freed: dict[torch.Size, torch.Tensor] = {}

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        freed[tensor.shape] = tensor.clone()
        return tensor

    def emptied(tensor: torch.Tensor) -> torch.Tensor:
        return freed.pop(tensor.shape, torch.empty_like(tensor, device="cpu"))

    awb.AWB(planned)._apply(moved)
    with torch.device("meta"):
        block = awb.AWB(planned)
    assert not block._apply(emptied).unset


@pytest.mark.slow
def test_assigned_checkpoints() -> None:
    base, images = built("test_vit", meta=False), torch.randn(1, 3, 160, 160)
    perturb(base)
    model = built("test_vit")
    model.load_state_dict(base.state_dict(), assign=True)
    assert torch.equal(model(images), base(images))
    model = built("test_vit")
    without = {key: value for key, value in base.state_dict().items() if ".awb." not in key}
    model.load_state_dict(without, strict=False, assign=True)
    with pytest.raises(awb.AWBError, match=r"blocks\.0\.awb was made on the meta device.*reset_parameters"):
        model(images)
    for block in awb.awb_blocks(model).values():
        block.reset_parameters()
    with awb.awb_disabled(base):
        assert torch.equal(model(images), base(images))


def test_shapes_can_be_run_without_values() -> None:
    assert built("test_vit")(torch.empty(2, 3, 160, 160, device="meta")).shape == (2, 3)


@pytest.mark.parametrize("move", [lambda m: m.half().float(), lambda m: m.double().float(), lambda m: m.share_memory()])
def test_moving_and_converting_keep_what_was_learned(move: Callable[[nn.Module], nn.Module]) -> None:
    model = built("test_vit", meta=False)
    perturb(model)
    for parameter in awb.awb_parameters(model):
        parameter.data = parameter.data.half().float()
    before = {key: value.clone() for key, value in awb.awb_state_dict(model).items()}
    after = awb.awb_state_dict(move(model))
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_asking_for_attributes_changes_nothing() -> None:
    """TorchScript's tracer and debuggers read every attribute of a module."""
    model = built("test_vit", meta=False)
    perturb(model)
    before = {key: value.clone() for key, value in awb.awb_state_dict(model).items()}
    for block in awb.awb_blocks(model).values():
        for name in dir(block):
            getattr(block, name, None)
    assert all(torch.equal(value, before[key]) for key, value in awb.awb_state_dict(model).items())


CONFIG = {"embedding_size": 8, "hidden_sizes": [8, 16, 24], "depths": [1, 1, 2], "num_labels": 3, "layer_type": "basic"}


class WithBlocks(transformers.ResNetForImageClassification):  # type: ignore[misc]
    """A subclass that attaches when it is built."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        awb.attach_awb(self, "resnet.encoder.stages.*", attention=getattr(config, "attention_kind", "lka"))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("kind", ["lka", "se"])
def test_transformers_checkpoints_with_and_without_blocks(kind: str, dtype: Any, tmp_path: Path) -> None:
    config = transformers.ResNetConfig(**CONFIG, attention_kind=kind)
    plain = transformers.ResNetForImageClassification(config).eval()
    plain.save_pretrained(tmp_path / "plain")
    options = {} if dtype is None else {"dtype": dtype}
    images = torch.randn(2, 3, 64, 64, dtype=dtype or torch.float32)
    model = WithBlocks.from_pretrained(tmp_path / "plain", **options).eval()
    same = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)  # a file's weights lie otherwise in memory
    same(model(images).logits, plain.to(images.dtype)(images).logits)
    perturb(model)
    model.save_pretrained(tmp_path / "blocks")
    again = WithBlocks.from_pretrained(tmp_path / "blocks", **options).eval()
    same(again(images).logits, model(images).logits)


def test_transformers_own_initialisation_leaves_blocks_as_planned() -> None:
    class InitialisedLast(WithBlocks):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.post_init()

    model = InitialisedLast(transformers.ResNetConfig(**CONFIG)).eval()
    images = torch.randn(1, 3, 64, 64)
    with awb.awb_disabled(model):
        plain = model(images).logits
    assert torch.equal(model(images).logits, plain)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_any_default_dtype(dtype: torch.dtype) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        for kind in ("lka", "se", "nl"):
            model = awb.attach_awb(timm.create_model("test_resnet", pretrained=False).eval(), [3, 4], attention=kind)
            assert {p.dtype for p in awb.awb_parameters(model)} == {dtype}
            images = torch.randn(1, 3, 64, 64)
            with awb.awb_disabled(model):
                plain = model(images)
            assert torch.equal(model(images), plain)
    finally:
        torch.set_default_dtype(before)
