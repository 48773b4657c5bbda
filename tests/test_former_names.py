"""`cbam`, `se`, `coord`, `gc` and others named timm's layers once: what was saved then keeps its meaning."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import awb
from awb.attention.timm_layers import FORMER_NAMES, by_former_name
from tests.fixtures.blocks_0f903c4.write import CASES, FOLDER, fill
from tests.helpers import perturb

CLASHING = ["cbam", "coord", "eca", "ela", "ese", "gc", "se"]


def backbone() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_resnet").eval()


def kind_after_pickling(model: nn.Module) -> str:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    (again,) = awb.awb_blocks(torch.load(buffer, weights_only=False)).values()
    return again.planned.attention


@pytest.mark.parametrize("name", CLASHING)
def test_the_papers_kind_is_another_than_timms(name: str) -> None:
    ours, theirs = (awb.create_attention(kind, 32) for kind in (name, f"timm_{name}"))
    assert type(ours).__module__.startswith("awb.")
    assert type(theirs).__module__.startswith("timm.")


def test_names_that_only_timm_has_still_build() -> None:
    for name in sorted({*FORMER_NAMES} - {*CLASHING}):
        assert type(awb.create_attention(name, 32)) is type(awb.create_attention(f"timm_{name}", 32))
        assert name not in awb.list_attention()
        with pytest.raises(awb.AWBError, match="already registered"):
            awb.register_attention(name)(nn.Identity)


def test_a_blocks_file_of_before_loads_timms_layers() -> None:
    name = "densenet_cbam"
    model = awb.load_awb(fill(CASES[name].build()), FOLDER / f"{name}.safetensors", **CASES[name].loading)
    assert {block.planned.attention for block in awb.awb_blocks(model).values()} == {"timm_cbam"}


@pytest.mark.parametrize("name", ["cbam", "se"])
def test_a_file_that_says_cbam_means_what_its_format_meant(name: str, tmp_path: Path) -> None:
    """The same tensors and plan, written by either version: the older format's name is timm's layer."""
    model = awb.attach_awb(backbone(), 4, attention=f"timm_{name}")
    perturb(model)
    new, old = tmp_path / "new.safetensors", tmp_path / "old.safetensors"
    awb.save_awb(model, new)
    with safe_open(new, "pt") as file:
        metadata: dict[str, str] = file.metadata()
    assert metadata["format"] == "awb-2"
    plan: dict[str, Any] = json.loads(metadata["plan"])
    plan["blocks"][0]["attention"] = name
    save_file(load_file(new), old, {**metadata, "format": "awb-1", "plan": json.dumps(plan)})
    again = awb.load_awb(backbone(), old)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(again(images), model(images))
    save_file(load_file(new), old, {**metadata, "plan": json.dumps(plan)})
    untouched = backbone()
    with pytest.raises(awb.AWBError):  # now it is the paper's, and the tensors are not its own
        awb.load_awb(untouched, old)
    assert not awb.awb_blocks(untouched)


def test_a_model_pickled_before_knows_its_layer_by_its_name_of_now() -> None:
    model = awb.attach_awb(backbone(), 4, attention="timm_cbam")
    (block,) = awb.awb_blocks(model).values()
    object.__setattr__(block.planned, "attention", "cbam")  # as it was pickled then
    assert kind_after_pickling(model) == "timm_cbam"
    # the paper's of now stays the paper's
    model = awb.attach_awb(backbone(), 4, attention="cbam")
    assert kind_after_pickling(model) == "cbam"


def test_former_names_are_timms_and_no_others() -> None:
    assert by_former_name("cbam") == "timm_cbam"
    assert by_former_name("lka") == "lka"
    assert all(by_former_name(name) in awb.list_attention() for name in FORMER_NAMES)
