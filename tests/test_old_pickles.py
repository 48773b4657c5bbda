"""Whole models pickled by earlier versions load, run and can be taken apart, wherever awb's classes stand now."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

import awb
from tests.fixtures.blocks_0f903c4.write import logits
from tests.fixtures.models_29bf31e.write import BUILD, FOLDER, SHAPE

LOGITS = load_file(FOLDER / "logits.safetensors")


@pytest.mark.parametrize("name", BUILD)
def test_a_model_pickled_at_29bf31e_loads(name: str) -> None:
    model = torch.load(FOLDER / f"{name}.pt", weights_only=False)
    torch.testing.assert_close(logits(model, SHAPE), LOGITS[name], rtol=1e-5, atol=1e-6)
    assert awb.awb_blocks(model)
    if name != "baked":
        awb.summary(model)
        awb.detach_awb(model)
        assert not awb.awb_blocks(model)
        assert model.train()(torch.zeros(SHAPE)).shape == LOGITS[name].shape


def test_every_file_is_tried() -> None:
    assert {path.stem for path in FOLDER.glob("*.pt")} == set(BUILD) == set(LOGITS)
