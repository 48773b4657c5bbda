"""PEFT and Lightning, where they are installed: what they freeze is said, and what they train is left to them."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import awb


def attached(name: str = "test_vit") -> nn.Module:
    return awb.attach_awb(timm.create_model(name, num_classes=5), "last")


def adapted(modules_to_save: list[str]) -> Any:
    peft = pytest.importorskip("peft", reason="PEFT is not installed")
    config = peft.LoraConfig(target_modules=["qkv"], modules_to_save=modules_to_save)
    return peft.get_peft_model(attached(), config)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 160, 160)


def test_blocks_that_peft_has_frozen_are_shown(images: Tensor) -> None:
    model = adapted(["head"])
    (row,) = awb.summary(model)
    assert row["trainable"] == 0 < row["params"]
    table = awb.diagnose(model, images)
    assert next(row["trained"] for row in table) == 0
    assert table.notes[0].startswith("frozen: base_model.model.blocks.4.awb")
    assert "nan" not in str(table)


def test_blocks_named_in_modules_to_save_train(images: Tensor) -> None:
    model = adapted(["head", "awb"])
    (row,) = (row for row in awb.summary(model) if row["trainable"])
    assert row["trainable"] == row["params"]
    assert "nan" not in str(awb.diagnose(model, images))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(images).square().sum().backward()
        optimizer.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert any("awb.modules_to_save" in name for name in moved)
    assert all("modules_to_save" in name or "lora_" in name for name in moved), moved


def test_what_peft_has_added_is_no_backbone() -> None:
    model = adapted(["head", "awb"])
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    awb.freeze_backbone(model)
    after = {name for name, p in model.named_parameters() if p.requires_grad}
    assert after == trained
    groups = awb.param_groups(model, lr=1.0, backbone_lr=0.1, weight_decay=0.0, layer_decay=0.5)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {rates[id(p)] for name, p in model.named_parameters() if name in trained} == {1.0}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Lightning's own, of torch's and its loaders
def test_lightnings_weight_averaging_leaves_frozen_statistics() -> None:
    lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is not installed")
    from lightning.pytorch.callbacks import StochasticWeightAveraging

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = awb.freeze_backbone(attached("test_resnet"))

        def training_step(self, batch: Any, index: int) -> Tensor:
            return self.model(batch[0]).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    module = Module()
    with torch.no_grad():
        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    before = {name: b.clone() for name, b in module.named_buffers() if "running" in name}
    data = torch.utils.data.TensorDataset(torch.randn(8, 3, 64, 64))
    trainer = lightning.Trainer(
        max_epochs=4, callbacks=[StochasticWeightAveraging(0.01, swa_epoch_start=1)], accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=4))
    after = dict(module.named_buffers())
    assert all(torch.equal(after[name], value) for name, value in before.items())
