"""One run: diagnose, train, and write the logits of validation and test."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import awb
from awb.study import BCELoss, LabelTable, OptimizerSettings, write_predictions
from benchmarks.kermany.arms import Arm, build, make_features


@dataclass(frozen=True)
class Settings:
    """Settings shared by all arms; learning rates were chosen on validation with `--choose`.

    Attributes:
        size: Side of the images in pixels.
        epochs_frozen: Number of epochs with a frozen backbone.
        epochs_tuned: Number of epochs with fine-tuning.
        batch: Images per step.
        head_lr: Learning rate of the classifier, in every arm.
        block_lr: Learning rate of the blocks.
        backbone_lr: Learning rate of the backbone, where it trains.
        weight_decay: Weight decay of weights, but not of biases and norms.
    """

    size: int = 128
    epochs_frozen: int = 3
    epochs_tuned: int = 2
    batch: int = 32
    head_lr: float = 3e-3
    block_lr: float = 1e-3
    backbone_lr: float = 1e-4
    weight_decay: float = 0.01


class Study:
    """Data of all runs; images are read and features computed when a run first needs them.

    Args:
        images: Function that returns the images, N×3×H×W.
        table: Labels of the images.
        sets: Sets of the split by name.
        settings: Settings of all runs.
        out: Folder of the results.
    """

    def __init__(
        self,
        images: Callable[[], Tensor],
        table: LabelTable,
        sets: dict[str, LabelTable],
        settings: Settings,
        out: Path,
    ) -> None:
        self.images, self.table, self.sets, self.settings, self.out = images, table, sets, settings, out
        self._features: dict[tuple[str, ...], Tensor] = {}

    def features(self, front: tuple[str, ...]) -> Tensor:
        if front not in self._features:
            self._features[front] = make_features(self.images(), front)
        return self._features[front]

    def rows(self, name: str) -> Tensor:
        return torch.from_numpy(self.table.find(self.sets[name].images))

    def held_out(self) -> LabelTable:
        """Labels of the images for which each run predicts logits: validation and test."""
        return self.table.take(torch.cat([self.rows("validation"), self.rows("test")]).numpy())

    def sharing_features(self, settings: Settings, out: Path) -> Study:
        """Study with the same data but other settings."""
        other = Study(self.images, self.table, self.sets, settings, out)
        other._features = self._features
        return other


def run_name(arm: Arm, seed: int) -> str:
    words = f"{arm.mode} {arm.name} {seed}".replace(" × ", "x ").replace(",", "")
    return words.replace(" ", "-").lower()


def run(study: Study, arm: Arm, seed: int) -> Path:
    """Train one arm unless its file exists; write diagnosis and numbers as JSON, then logits as CSV.

    Returns:
        The CSV file: image, and one logit per class.
    """
    path = study.out / f"{run_name(arm, seed)}.csv"
    if path.exists():
        return path
    study.out.mkdir(parents=True, exist_ok=True)
    features = study.features(arm.front)
    started, cpu = time.monotonic(), time.process_time()
    model = build(arm, seed, study.settings.size)
    facts: dict[str, Any] = {
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "in blocks": sum(p.numel() for p in awb.awb_parameters(model)),
        **diagnosis(model, features[_some(study.rows("train"))]),
    }
    facts["losses"] = train(model, arm, seed, study, features)
    facts |= {"seconds": time.monotonic() - started, "cpu seconds": time.process_time() - cpu}
    path.with_suffix(".json").write_text(json.dumps(facts, indent=1))
    rows = torch.cat([study.rows("validation"), study.rows("test")])
    write_predictions(path, study.held_out(), predict(model, features, rows).numpy())
    return path


def diagnosis(model: nn.Module, features: Tensor) -> dict[str, Any]:
    """Result of `awb.diagnose` before the first step; empty without blocks."""
    model.train()
    if not awb.awb_blocks(model):
        return {"dead": None, "sites": []}
    dead = None
    try:
        table = awb.diagnose(model, features, raise_if_dead=True)
    except awb.DeadNetworkError as error:
        dead, table = str(error), awb.diagnose(model, features)
    return {"dead": dead, "sites": [row for row in table if row["stage"] is not None]}


def train(model: nn.Module, arm: Arm, seed: int, study: Study, features: Tensor) -> list[float]:
    """Train for the arm's epochs and keep the last weights. Returns the mean loss of each epoch."""
    settings, rows = study.settings, study.rows("train")
    labels, loss = torch.from_numpy(study.table.labels).float(), BCELoss()
    epochs = arm.epochs * (settings.epochs_frozen if arm.frozen else settings.epochs_tuned)
    steps = epochs * -(-len(rows) // settings.batch)
    optimizer, schedule = OptimizerSettings("adamw", settings.block_lr).build(groups(model, arm, settings), steps)
    order = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(epochs):
        model.train()
        total = 0.0
        for batch in rows[torch.randperm(len(rows), generator=order)].split(settings.batch):
            value = loss(model(features[batch]), labels[batch])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            total += value.item() * len(batch)
        losses.append(total / len(rows))
    return losses


def groups(model: nn.Module, arm: Arm, settings: Settings) -> list[dict[str, Any]]:
    """Groups of `awb.param_groups`, with the classifier's rate set to the same value in every arm."""
    head = {id(p) for p in model.get_submodule("classifier").parameters()}
    by_rate = []
    block_lr = arm.rate * settings.block_lr
    for group in awb.param_groups(model, block_lr, settings.backbone_lr, settings.weight_decay):
        for lr, is_head in ((settings.head_lr, True), (group["lr"], False)):
            members = [p for p in group["params"] if p.requires_grad and (id(p) in head) == is_head]
            if members:
                by_rate.append({"params": members, "lr": lr, "weight_decay": group["weight_decay"]})
    return by_rate


@torch.no_grad()
def predict(model: nn.Module, features: Tensor, rows: Tensor, batch: int = 64) -> Tensor:
    """Logits of some images, in eval mode."""
    model.eval()
    return torch.cat([model(features[chunk]) for chunk in rows.split(batch)])


def _some(rows: Tensor, count: int = 32) -> Tensor:
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:count]]
