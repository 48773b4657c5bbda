"""PEFT before and after awb: what trains, its own checkpoints, adapters and merging; where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import awb
from tests.helpers import perturb
from tests.integration.client_models import IMAGES, TOLERANCE, attached, difference, network, number_that_train

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # its own


@pytest.fixture
def peft() -> Any:
    return pytest.importorskip("peft", reason="PEFT is not installed")


def lora(peft: Any, *modules_to_save: str) -> Any:
    return peft.LoraConfig(target_modules=["qkv"], modules_to_save=list(modules_to_save))


def train_a_step(model: nn.Module) -> None:
    model.train()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01)
    model(IMAGES).square().mean().backward()
    optimiser.step()
    model.eval()


@torch.no_grad()
def assert_merges(wrapped: Any, logits: Tensor, file: Path) -> None:
    """The merged model is one with blocks like any other, and bare after detaching."""
    merged = wrapped.merge_and_unload().eval()
    assert difference(merged(IMAGES), logits) < TOLERANCE
    assert len(awb.summary(merged)) == len(awb.awb_blocks(merged)) > 0
    awb.save_awb(merged, file, allow_lost=True)  # the merged backbone is for another file
    loaded = network()
    loaded.load_state_dict({k: v for k, v in merged.state_dict().items() if ".awb." not in k})
    assert torch.equal(awb.load_awb(loaded, file)(IMAGES), merged(IMAGES))
    with awb.awb_disabled(merged):
        bare = merged(IMAGES)
    assert difference(bare, logits) > TOLERANCE
    awb.detach_awb(merged)
    assert merged.state_dict().keys() == network().state_dict().keys()
    assert torch.equal(merged(IMAGES), bare)


def test_peft_after_awb_trains_and_saves_blocks_that_it_is_told_of(peft: Any, tmp_path: Path) -> None:
    model = attached()
    before = model(IMAGES)
    wrapped = peft.get_peft_model(model, lora(peft, "awb", "head")).eval()
    assert torch.equal(wrapped(IMAGES), before)
    assert number_that_train(wrapped) == len(list(awb.awb_parameters(wrapped))) == 30
    assert len(awb.summary(wrapped)) == 5
    train_a_step(wrapped)
    logits = wrapped(IMAGES)
    assert difference(logits, before) > 0.01
    assert sum("awb" in key for key in peft.get_peft_model_state_dict(wrapped)) == 30
    wrapped.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(attached(), tmp_path).eval()
    assert torch.equal(loaded(IMAGES), logits)
    assert_merges(wrapped, logits, tmp_path / "blocks.safetensors")


def test_peft_after_awb_freezes_blocks_that_it_is_not_told_of(peft: Any, tmp_path: Path) -> None:
    wrapped = peft.get_peft_model(attached(), lora(peft, "head")).eval()
    assert number_that_train(wrapped) == 0
    assert len(awb.summary(wrapped)) == 5
    assert len(list(awb.awb_parameters(wrapped))) == 30
    assert_merges(wrapped, wrapped(IMAGES), tmp_path / "blocks.safetensors")


def test_peft_before_awb(peft: Any, tmp_path: Path) -> None:
    """PEFT's own checkpoint knows no blocks that came later; save_awb takes what PEFT trains along."""
    wrapped = peft.get_peft_model(network(), lora(peft, "head")).eval()
    awb.attach_awb(wrapped, ["base_model.model.blocks.1", "base_model.model.blocks.4"])
    perturb(wrapped)
    assert number_that_train(wrapped) == 12
    assert len(awb.summary(wrapped)) == 2
    train_a_step(wrapped)
    file = tmp_path / "blocks.safetensors"
    awb.save_awb(wrapped, file)  # with the head and the adapters, which were trained
    again = awb.load_awb(peft.get_peft_model(network(), lora(peft, "head")).eval(), file)
    assert torch.equal(again(IMAGES), wrapped(IMAGES))
    assert_merges(wrapped, wrapped(IMAGES), file)


def test_blocks_copied_by_peft_read_the_grid_of_their_images(peft: Any) -> None:
    model = attached(dynamic_img_size=True)
    wide, high = torch.randn(2, 3, 128, 160), torch.randn(2, 3, 160, 128)
    expected = [model(images) for images in (wide, high)]
    wrapped = peft.get_peft_model(model, lora(peft, "awb")).eval()
    for images, logits in zip((wide, high), expected, strict=True):
        assert torch.equal(wrapped(images), logits)
    merged = wrapped.merge_and_unload().eval()
    for images, logits in zip((wide, high), expected, strict=True):
        assert torch.equal(merged(images), logits)


def test_each_adapter_of_peft_has_its_own_blocks(peft: Any) -> None:
    wrapped = peft.get_peft_model(attached(), lora(peft, "awb")).eval()
    wrapped.add_adapter("second", lora(peft, "awb"))
    first = wrapped(IMAGES)
    wrapped.set_adapter("second")
    assert len(awb.awb_blocks(wrapped)) == 5
    assert torch.equal(wrapped(IMAGES), first)
    perturb(wrapped)
    assert difference(wrapped(IMAGES), first) > TOLERANCE
    wrapped.set_adapter("default")
    assert torch.equal(wrapped(IMAGES), first)


@pytest.mark.parametrize("stages", ["last", 3, "all"])
def test_stages_of_a_wrapped_model_are_named_by_path(stages: Any, peft: Any) -> None:
    """The numbers are those of the model inside, whose paths are other ones."""
    wrapped = peft.get_peft_model(network(), lora(peft))
    with pytest.raises(awb.AWBError, match="name modules by path"):
        awb.attach_awb(wrapped, stages)
