"""Optimiser settings as plain values, and the optimiser and learning-rate scheduler built from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR

from awb.errors import AWBError, did_you_mean

_Name = Literal["adamw", "adam", "sgd"]
_LRSchedule = Literal["one_cycle", "cosine", "constant"]


@dataclass(frozen=True)
class OptimizerSettings:
    """Settings of an optimiser and its learning-rate schedule.

    Attributes:
        name: `adamw` (decoupled weight decay), `adam` or `sgd` (Nesterov momentum .9).
        lr: Learning rate, the highest one of `one_cycle` and `cosine`; None if it is set later, as by an LR finder.
        weight_decay: Weight decay of all parameter groups that do not set their own.
        lr_schedule: Schedule by optimiser step over the whole stage: `one_cycle` (torch's OneCycleLR), `cosine` (to
            0) or `constant`.

    Raises:
        AWBError: A name is unknown or a number out of its range.
    """

    name: _Name
    lr: float | None
    weight_decay: float = 0.0
    lr_schedule: _LRSchedule = "one_cycle"

    def __post_init__(self) -> None:
        for what, value, choices in (
            ("optimiser", self.name, get_args(_Name)),
            ("lr_schedule", self.lr_schedule, get_args(_LRSchedule)),
        ):
            if value not in choices:
                near = did_you_mean(str(value), choices)
                raise AWBError(f"{what} {value!r}: expected one of {', '.join(choices)}{near}")
        if self.lr is not None:
            _require("lr", self.lr, self.lr > 0)
        _require("weight_decay", self.weight_decay, self.weight_decay >= 0)

    def describe(self) -> dict[str, Any]:
        """Settings as plain JSON values."""
        return asdict(self)

    def build(self, parameters: Iterable[Any], steps: int, lr: float | None = None) -> tuple[Optimizer, LRScheduler]:
        """Build the optimiser, and the learning-rate scheduler; call its `step` after each optimiser step.

        Args:
            parameters: Parameters or parameter groups, with the frozen ones that train later in the stage.
            steps: Number of optimiser steps in the whole stage.
            lr: Learning rate in place of the settings' own; required if that is None. Groups with an `lr` keep it.

        Raises:
            AWBError: No learning rate is given, or `steps` is not positive.
        """
        lr = self.lr if lr is None else lr
        if lr is None:
            raise AWBError("the learning rate is yet to be found: give it as lr")
        if steps < 1:
            raise AWBError(f"steps={steps!r}: expected at least 1")
        optimizer: Optimizer
        if self.name == "sgd":
            optimizer = torch.optim.SGD(parameters, lr, momentum=0.9, nesterov=True, weight_decay=self.weight_decay)
        else:
            kind = torch.optim.AdamW if self.name == "adamw" else torch.optim.Adam
            optimizer = kind(parameters, lr, weight_decay=self.weight_decay)
        if self.lr_schedule == "one_cycle":
            rates = [group["lr"] for group in optimizer.param_groups]
            return optimizer, OneCycleLR(optimizer, rates, total_steps=steps)
        if self.lr_schedule == "cosine":
            return optimizer, CosineAnnealingLR(optimizer, steps)
        return optimizer, ConstantLR(optimizer, factor=1.0)


def _require(name: str, value: float, holds: bool) -> None:
    if not (holds and math.isfinite(value)):
        raise AWBError(f"{name}={value!r} is out of range")
