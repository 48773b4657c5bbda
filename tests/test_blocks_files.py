"""Blocks files of earlier versions load, and the models answer as they did."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

import awb
from tests.fixtures.blocks_0f903c4.write import CASES, FOLDER, fill, logits
from tests.levels import slow_but

LOGITS = load_file(FOLDER / "logits.safetensors")


@pytest.mark.parametrize("name", slow_but(["resnet_mixed", "vit_last"], CASES))
def test_a_file_written_at_0f903c4_loads(name: str) -> None:
    case = CASES[name]
    model = awb.load_awb(fill(case.build()), FOLDER / f"{name}.safetensors", **case.loading)
    torch.testing.assert_close(logits(model, case.shape), LOGITS[name], rtol=1e-5, atol=1e-6)


def test_every_file_is_tried() -> None:
    files = {path.stem for path in FOLDER.glob("*.safetensors")} - {"logits"}
    assert files == set(CASES) == set(LOGITS)
