"""Learning-rate schedulers of torch for optimiser settings."""

from __future__ import annotations

from typing import Protocol

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)


class ScheduleSettings(Protocol):
    """The settings of `OptimizerSettings` that make a schedule."""

    @property
    def lr_schedule(self) -> str: ...
    @property
    def momentum(self) -> float | None: ...
    @property
    def warmup_epochs(self) -> float: ...
    @property
    def warmup_lr(self) -> float | None: ...
    @property
    def min_lr(self) -> float: ...
    @property
    def milestones(self) -> tuple[int, ...]: ...
    @property
    def factor(self) -> float | None: ...
    @property
    def plateau_patience(self) -> int | None: ...


def make_scheduler(settings: ScheduleSettings, optimizer: Optimizer, lr: float, steps: int, epochs: int) -> LRScheduler:
    """Scheduler of a stage, with a linear warm-up first if one is set.

    Args:
        settings: Settings of the schedule, valid for the stage.
        optimizer: The optimiser.
        lr: Learning rate to which the warm-up rises, of the groups without their own.
        steps: Number of optimiser steps in the stage.
        epochs: Number of epochs in the stage.
    """
    if not settings.warmup_epochs:
        return _after_warmup(settings, optimizer, steps, steps / epochs, 0)
    warmup = max(1, round(settings.warmup_epochs * steps / epochs))
    start = 0.01 if settings.warmup_lr is None else settings.warmup_lr / lr
    rise = LinearLR(optimizer, start_factor=start, total_iters=warmup)
    rest = _after_warmup(settings, optimizer, steps - warmup, steps / epochs, warmup)
    return SequentialLR(optimizer, [rise, rest], [warmup])


def _after_warmup(
    settings: ScheduleSettings, optimizer: Optimizer, steps: int, steps_per_epoch: float, before: int
) -> LRScheduler:
    """Scheduler of the remaining `steps`, when there were `before`."""
    factor = 0.1 if settings.factor is None else settings.factor
    if settings.lr_schedule == "one_cycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        # torch cycles the momentum too, which would override one that was asked for
        cycle = settings.momentum is None and not {"momentum", "betas"}.isdisjoint(optimizer.defaults)
        return OneCycleLR(optimizer, rates, total_steps=steps, cycle_momentum=cycle)
    if settings.lr_schedule == "cosine":
        return CosineAnnealingLR(optimizer, steps, eta_min=settings.min_lr)
    if settings.lr_schedule == "step":
        at = [round(milestone * steps_per_epoch) - before for milestone in settings.milestones]
        return MultiStepLR(optimizer, at, gamma=factor)
    if settings.lr_schedule == "plateau":
        patience = settings.plateau_patience or 0
        return ReduceLROnPlateau(optimizer, factor=factor, patience=patience, threshold=0.0, min_lr=settings.min_lr)
    return ConstantLR(optimizer, factor=1.0)
