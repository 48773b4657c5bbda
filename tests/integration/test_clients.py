"""Other libraries that take a model over: accelerate, transformers, Lightning, ultralytics.

Those that awb's own tests do not need are tried where they are installed, and none becomes a dependency.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from torch import Tensor, nn
from torch.utils.data import DataLoader

import awb
from tests.helpers import perturb
from tests.integration.client_models import IMAGES, SMALL, TOLERANCE, attached, difference, network, number_that_train

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # their own

# --- accelerate ------------------------------------------------------------------------------------------------------


@pytest.fixture
def accelerate() -> Any:
    package = pytest.importorskip("accelerate", reason="accelerate is not installed")
    yield package
    package.state.AcceleratorState._reset_state(True)


@torch.no_grad()
@pytest.mark.parametrize("way", ["cpu_offload", "disk_offload", "dispatch_model"])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_offloaded_blocks(name: str, way: str, accelerate: Any, tmp_path: Path) -> None:
    model = attached(name)
    expected = model(IMAGES)
    if way == "cpu_offload":
        accelerate.cpu_offload(model, torch.device("cpu"))
    elif way == "disk_offload":
        accelerate.disk_offload(model, str(tmp_path), torch.device("cpu"))
    else:
        devices = dict.fromkeys(["", *dict(model.named_children())], "cpu")
        accelerate.dispatch_model(model, devices, main_device="cpu", force_hooks=True)
    assert difference(model(IMAGES), expected) < TOLERANCE
    assert len(awb.summary(model)) == len(awb.awb_blocks(model)) > 3
    with awb.awb_disabled(model):
        assert difference(model(IMAGES), expected) > TOLERANCE
    if way != "dispatch_model":
        with pytest.raises(awb.AWBError, match=r"offloaded by accelerate: save before, or bring them back"):
            awb.save_awb(model, tmp_path / "blocks.safetensors")
    accelerate.hooks.remove_hook_from_submodules(model)
    awb.save_awb(model, tmp_path / "blocks.safetensors")
    assert difference(model(IMAGES), expected) < TOLERANCE


@torch.no_grad()
def test_attaching_to_an_offloaded_model_is_refused(accelerate: Any) -> None:
    """Its weights are on the meta device between calls: attach before."""
    model = accelerate.cpu_offload(network("test_resnet"), torch.device("cpu"))
    with pytest.raises(awb.AWBError, match="attach first, then offload"):
        awb.attach_awb(model)
    assert difference(model(IMAGES), network("test_resnet")(IMAGES)) < TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("where", ["inside", "after"])
def test_blocks_made_empty_do_not_run_on_what_memory_holds(where: str, accelerate: Any, tmp_path: Path) -> None:
    """Accelerate sets parameters one by one, of which nothing tells a block: it runs when it is told."""
    model = attached("test_resnet")
    expected = model(IMAGES)
    accelerate.Accelerator(cpu=True).save_model(model, tmp_path)
    with accelerate.init_empty_weights():
        empty = timm.create_model("test_resnet", pretrained=False, num_classes=5)
        if where == "inside":
            awb.attach_awb(empty, "all")
    if where == "after":
        awb.attach_awb(empty, "all")
    loaded = accelerate.load_checkpoint_and_dispatch(empty, str(tmp_path), device_map={"": "cpu"}).eval()
    with pytest.raises(awb.AWBError, match="made on the meta device"):
        loaded(IMAGES)
    for block in awb.awb_blocks(loaded).values():
        block.unset = False
    assert difference(loaded(IMAGES), expected) < TOLERANCE


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_prepared_by_accelerate(precision: str, accelerate: Any, tmp_path: Path) -> None:
    model = attached()
    before = model(IMAGES)
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision=precision)
    model, optimiser = accelerator.prepare(model, torch.optim.SGD(awb.awb_parameters(model), 0.1))
    logits = model(IMAGES)
    assert difference(logits, before) < (0.1 if precision == "bf16" else TOLERANCE)
    accelerator.backward(logits.square().mean())
    optimiser.step()
    plain = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    trained = plain(IMAGES)
    assert difference(trained, before) > TOLERANCE
    awb.save_awb(plain, tmp_path / "blocks.safetensors")
    assert torch.equal(awb.load_awb(network(), tmp_path / "blocks.safetensors")(IMAGES), trained)


# --- transformers ----------------------------------------------------------------------------------------------------

RESNET = transformers.ResNetConfig(
    embedding_size=8, hidden_sizes=[8, 16, 24], depths=[1, 1, 2], num_labels=3, layer_type="basic"
)
VIT = transformers.ViTConfig(
    image_size=64, patch_size=16, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
    num_labels=3,
)  # fmt: skip


class ResNetWithBlocksForImageClassification(transformers.ResNetForImageClassification):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        awb.attach_awb(self, "resnet.encoder.stages.*")


class ViTWithBlocksForImageClassification(transformers.ViTForImageClassification):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        awb.attach_awb(self, ["vit.layers.0", "vit.layers.1"])


SUBCLASSES = {
    "ResNet": (ResNetWithBlocksForImageClassification, transformers.ResNetForImageClassification, RESNET),
    "ViT": (ViTWithBlocksForImageClassification, transformers.ViTForImageClassification, VIT),
}


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", SUBCLASSES)
def test_from_pretrained_of_a_subclass(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """Blocks that the checkpoint does not have start as the identity; those that it has come back."""
    with_blocks, plain, config = SUBCLASSES[name]
    bare = plain(config).eval()
    bare.save_pretrained(tmp_path / "bare")
    images = SMALL.to(dtype)
    fresh = with_blocks.from_pretrained(tmp_path / "bare", dtype=dtype).eval()
    assert {p.dtype for p in awb.awb_parameters(fresh)} == {dtype}
    assert torch.equal(fresh(images).logits, bare.to(dtype)(images).logits)
    perturb(fresh, 0.1)
    fresh.save_pretrained(tmp_path / "trained")
    again = with_blocks.from_pretrained(tmp_path / "trained", dtype=dtype).eval()
    assert torch.equal(again(images).logits, fresh(images).logits)
    assert not torch.equal(again(images).logits, bare(images).logits)
    assert len(awb.summary(again)) == len(awb.awb_blocks(again)) > 1


class Pictures(torch.utils.data.Dataset[dict[str, Any]]):
    """As a data set of the hub gives them, with a column that the model does not take."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"pixel_values": SMALL[index % 2], "labels": index % 3, "file": 0}


@pytest.mark.parametrize("name", SUBCLASSES)
def test_trainer_of_transformers(name: str, tmp_path: Path) -> None:
    with_blocks, _, config = SUBCLASSES[name]
    torch.manual_seed(0)
    model = with_blocks(config)
    fresh = [p.detach().clone() for p in awb.awb_parameters(model)]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        save_strategy="no", remove_unused_columns=True, learning_rate=1e-2, disable_tqdm=True,
        gradient_checkpointing=model.supports_gradient_checkpointing,
    )  # fmt: skip
    data = Pictures()
    transformers.Trainer(model, arguments, train_dataset=data, data_collator=collate).train()
    assert any(not torch.equal(p, old) for p, old in zip(awb.awb_parameters(model), fresh, strict=True))
    trainer = transformers.Trainer(model, arguments, data_collator=collate)
    trainer.save_model(str(tmp_path / "saved"))
    loaded = with_blocks.from_pretrained(tmp_path / "saved").eval()
    with torch.no_grad():
        assert torch.equal(loaded(SMALL).logits, model.eval()(SMALL).logits)


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    images = torch.stack([row["pixel_values"] for row in rows])
    return {"pixel_values": images, "labels": torch.tensor([row["labels"] for row in rows])}


# --- Lightning -------------------------------------------------------------------------------------------------------


@pytest.fixture
def lightning() -> Any:
    return pytest.importorskip("pytorch_lightning", reason="Lightning is not installed")


def training(lightning: Any, model: nn.Module) -> Any:
    """What a user of Lightning writes: a module with a step and an optimiser of what trains."""

    class Training(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.backbone = model

        def training_step(self, batch: Tensor, index: int) -> Tensor:
            return self.backbone(batch).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], 0.1)

    return Training()


def trainer(lightning: Any, folder: Path, **options: Any) -> Any:
    return lightning.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=str(folder), **{"fast_dev_run": True, **options},
    )  # fmt: skip


@pytest.mark.parametrize("precision", ["32-true", "bf16-true", "bf16-mixed"])
def test_fit_with_lightning(precision: str, lightning: Any, tmp_path: Path) -> None:
    model = attached()
    before = [p.detach().clone() for p in awb.awb_parameters(model)]
    step = training(lightning, model)
    trainer(lightning, tmp_path, precision=precision).fit(step, DataLoader(IMAGES, 2))
    after = list(awb.awb_parameters(model))
    assert {p.dtype for p in after} == {torch.bfloat16 if precision == "bf16-true" else torch.float32}
    assert any(not torch.equal(p.float(), old) for p, old in zip(after, before, strict=True))
    assert len(awb.summary(model)) == 5


def test_a_module_that_attaches_while_lightning_sets_the_dtype(lightning: Any, tmp_path: Path) -> None:
    run = trainer(lightning, tmp_path, precision="bf16-true")
    with run.init_module():
        model = awb.attach_awb(timm.create_model("test_vit", num_classes=5), "all")
    assert {p.dtype for p in awb.awb_parameters(model)} == {torch.bfloat16}
    run.fit(training(lightning, model), DataLoader(IMAGES, 2))


def test_checkpoint_of_lightning(lightning: Any, tmp_path: Path) -> None:
    run = trainer(lightning, tmp_path, fast_dev_run=False, max_steps=1, enable_checkpointing=True)
    step = training(lightning, attached())
    run.fit(step, DataLoader(IMAGES, 2))
    run.save_checkpoint(tmp_path / "last.ckpt")
    again = training(lightning, awb.attach_awb(network(), "all"))
    again.load_state_dict(torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"])
    with torch.no_grad():
        assert torch.equal(again.eval().backbone(IMAGES), step.eval().backbone(IMAGES))


def test_backbone_finetuning_freezes_blocks_with_the_backbone(lightning: Any, tmp_path: Path) -> None:
    """It holds them for a part of the backbone until it unfreezes all."""
    model = attached()
    callback = lightning.callbacks.BackboneFinetuning(unfreeze_backbone_at_epoch=10, verbose=False)
    step = training(lightning, model)
    step.head = nn.Linear(5, 2)  # what it leaves to train
    step.training_step = lambda batch: step.head(model(batch)).square().mean()
    trainer(lightning, tmp_path, callbacks=[callback]).fit(step, DataLoader(IMAGES, 2))
    assert number_that_train(model) == 0
    assert len(awb.summary(model)) == 5
    callback.unfreeze_and_add_param_group(model, torch.optim.SGD(step.head.parameters(), 0.1))
    assert number_that_train(model) == 30


def test_weight_averaging_of_lightning(lightning: Any, tmp_path: Path) -> None:
    model = awb.freeze_backbone(attached("test_resnet"), head=[])
    callback = lightning.callbacks.StochasticWeightAveraging(swa_lrs=0.1, swa_epoch_start=1)
    run = trainer(
        lightning, tmp_path, fast_dev_run=False, max_epochs=3, callbacks=[callback], enable_checkpointing=False
    )
    run.fit(training(lightning, model), DataLoader(IMAGES, 2))
    assert len(awb.summary(model)) == 4
    with torch.no_grad(), awb.awb_disabled(model):
        bare = model.eval()(IMAGES)
    assert difference(model(IMAGES), bare) > TOLERANCE


# --- ultralytics -----------------------------------------------------------------------------------------------------


def test_yolo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its first layers are a backbone: attach by path."""
    for name, value in {"YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false"}.items():
        monkeypatch.setitem(os.environ, name, value)
    ultralytics = pytest.importorskip("ultralytics", reason="ultralytics is not installed", exc_type=ImportError)
    model = ultralytics.YOLO("yolo11n.yaml").model.eval()
    with torch.no_grad():
        expected = model(SMALL)[0]
        awb.attach_awb(model, ["model.4", "model.6"], input_size=64)
        assert torch.equal(model(SMALL)[0], expected)
        perturb(model)
        logits = model(SMALL)[0]
        assert not torch.equal(logits, expected)
        awb.save_awb(model, tmp_path / "blocks.safetensors")
        awb.detach_awb(model)
        assert torch.equal(model(SMALL)[0], expected)
        awb.load_awb(model, tmp_path / "blocks.safetensors", input_size=64)
        assert torch.equal(model(SMALL)[0], logits)
        assert len(awb.summary(model.fuse())) == 2
        torch.testing.assert_close(model(SMALL)[0], logits, rtol=1e-3, atol=1e-3)
