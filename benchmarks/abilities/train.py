"""One run: a network whose only view of other positions is the block under test, trained on one task."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import awb
from benchmarks.abilities.tasks import Sample, Task

CHANNELS = 48  # a multiple of 3, 8 and 16, as some kinds ask for
BATCH, RATE, TESTED = 8, 1e-2, 512
NONE, CONTROL = "none", "pointwise"  # no block; a gate of as many weights as LKA's that sees single positions
OPTIONS: dict[str, dict[str, Any]] = {"scsa": {"window_size": 4}}  # of kinds whose own do not fit the small maps


class PointwiseGate(nn.Module):
    """x · up(GELU(down(x))), as many weights as LKA's, at single positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = round(channels * (25 + 49 + channels + 2) / (2 * channels + 1))
        self.down, self.up = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x * self.up(F.gelu(self.down(x)))
        return y


class Network(nn.Module):
    """1×1 convolutions before and after the place of the block, and a linear classifier of each position."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, CHANNELS, 1), nn.BatchNorm2d(CHANNELS), nn.ReLU())
        self.tail = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), nn.BatchNorm2d(CHANNELS), nn.ReLU())
        self.classifier = nn.Conv2d(CHANNELS, classes, 1)

    def forward(self, maps: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.tail(self.stem(maps)))
        return logits


def run(kind: str, task: Task, seed: int) -> tuple[float, float]:
    """Train one network.

    Args:
        kind: The attention kind, or `none`.
        task: The task.
        seed: Seed of weights and training maps; the test maps are the same for all.

    Returns:
        Accuracy on maps that it was not trained on, and the seconds that it took.
    """
    started = time.perf_counter()
    torch.manual_seed(seed)
    network = Network(task.classes)
    generator = torch.Generator().manual_seed(seed + 1)
    if kind == CONTROL and CONTROL not in awb.list_attention():
        awb.register_attention(CONTROL)(PointwiseGate)
    if kind != NONE:
        example = task.draw(2, generator).maps
        awb.attach_awb(network, "stem", attention=kind, example_input=example, **OPTIONS.get(kind, {}))
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=task.steps)
    for _ in range(task.steps):
        sample = task.draw(BATCH, generator)
        loss = F.cross_entropy(*_answers(network, sample))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return _accuracy(network, task), time.perf_counter() - started


def _answers(network: Network, sample: Sample) -> tuple[Tensor, Tensor]:
    """Logits and labels of the answers that count, M×classes and M."""
    logits = network(sample.maps)
    if sample.asked is None:
        return logits.mean(dim=(2, 3)), sample.labels
    return logits.permute(0, 2, 3, 1)[sample.asked], sample.labels[sample.asked]


@torch.no_grad()
def _accuracy(network: Network, task: Task) -> float:
    network.eval()
    generator = torch.Generator().manual_seed(12345)
    right = total = 0
    for _ in range(TESTED // 128):
        logits, labels = _answers(network, task.draw(128, generator))
        right, total = right + int((logits.argmax(1) == labels).sum()), total + len(labels)
    return right / total
