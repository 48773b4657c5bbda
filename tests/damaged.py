"""A right blocks file in parts, to be put together wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

import awb
from tests.helpers import assert_same, perturb, snapshot

SIZE = 64
IMAGES = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


def backbone(name: str) -> nn.Module:
    torch.manual_seed(7)
    size = {"img_size": SIZE} if name == "test_vit" else {}
    return timm.create_model(name, pretrained=False, num_classes=5, **size).eval()


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(IMAGES)
    return result


class File:
    """A right file in parts, to be put together wrongly."""

    def __init__(self, path: Path, name: str = "test_resnet", **kwargs: Any) -> None:
        self.path, self.name = path, name
        model = awb.attach_awb(backbone(name), "last", input_size=SIZE, **kwargs)
        perturb(model)
        awb.save_awb(model, path, modules_to_save=["fc"] if name == "test_resnet" else ())
        self.expected = logits(model)
        self.tensors = {key: t.clone() for key, t in load_file(path).items()}  # they lie in the file, to be overwritten
        with safe_open(path, "pt") as file:
            self.metadata: dict[str, str] = file.metadata()
        self.bytes = path.read_bytes()

    @property
    def plan(self) -> dict[str, Any]:
        plan: dict[str, Any] = json.loads(self.metadata["plan"])
        return plan

    def load(self, data: bytes | None = None) -> nn.Module:
        if data is not None:
            self.path.write_bytes(data)
        return awb.load_awb(backbone(self.name), self.path, input_size=SIZE)

    def refusal(self, data: bytes | None = None) -> str:
        """The message with which a file is refused; the model is then as it was."""
        if data is not None:
            self.path.write_bytes(data)
        model = backbone(self.name)
        before = snapshot(model)
        with pytest.raises(awb.AWBError) as caught:
            awb.load_awb(model, self.path, input_size=SIZE)
        assert_same(before, snapshot(model))
        return str(caught.value)

    def with_metadata(self, **changes: str | None) -> bytes:
        merged: dict[str, str | None] = {**self.metadata, **changes}
        return save(self.tensors, {key: value for key, value in merged.items() if value is not None})

    def with_plan(self, plan: Any) -> bytes:
        return self.with_metadata(plan=json.dumps(plan))
