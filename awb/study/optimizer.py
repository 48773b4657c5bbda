"""Optimiser settings as plain values, and the optimiser and learning-rate scheduler built from them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from awb.errors import AWBError, did_you_mean
from awb.study.lr_schedule import make_scheduler

_Torch = Literal["adamw", "adam", "sgd"]
_LRSchedule = Literal["one_cycle", "cosine", "constant", "step", "plateau"]
_TIMM = "timm:"
_ALWAYS_DESCRIBED = ("name", "lr", "weight_decay", "lr_schedule")
_OF_SCHEDULE = ("warmup_epochs", "warmup_lr", "min_lr", "milestones", "factor", "plateau_patience")


@dataclass(frozen=True)
class OptimizerSettings:
    """Settings of an optimiser and its learning-rate schedule.

    Attributes:
        name: `adamw` (decoupled weight decay), `adam`, `sgd`, or one of timm's, such as `timm:lamb`; see
            `timm.optim.list_optimizers()`.
        lr: Learning rate, the highest one of all schedules; None if it is set later, as by an LR finder.
        weight_decay: Weight decay of all parameter groups that do not set their own.
        lr_schedule: Schedule over the whole stage. By optimiser step: `one_cycle` (torch's OneCycleLR), `cosine` (to
            `min_lr`), `constant`, or `step` (times `factor` at each of the `milestones`). By epoch: `plateau` (times
            `factor` after more than `plateau_patience` epochs without a lower validation loss).
        momentum: Momentum of `sgd` and of timm's optimisers that have one; None for .9, which `one_cycle` cycles
            between .85 and .95.
        nesterov: Nesterov's form of the momentum of `sgd`; None for True where there is momentum.
        layer_decay: Factor between the learning rates of each layer of a network and the layer after it. The caller
            makes the parameter groups, as by `awb.param_groups`.
        decay_norms: False for no weight decay of biases and norms. The caller makes the parameter groups.
        clip_norm: Highest norm of all gradients together; the caller clips, as by `torch.nn.utils.clip_grad_norm_`.
        warmup_epochs: Epochs, or parts of one, in which the learning rate rises linearly to `lr`.
        warmup_lr: Learning rate at the start of the warm-up; None for a hundredth of `lr`.
        min_lr: Lowest learning rate of `cosine` and `plateau`.
        milestones: Numbers of finished epochs after which `step` lowers the learning rate.
        factor: Factor of `step` and `plateau`; None for .1.
        plateau_patience: Epochs without a lower validation loss that `plateau` tolerates.

    Raises:
        AWBError: A name is unknown, a number out of its range, or a setting does not belong to the schedule or
            optimiser.

    Examples:
        >>> from awb.study import OptimizerSettings
        >>> settings = OptimizerSettings("sgd", lr=0.1, lr_schedule="step", milestones=(30, 60), momentum=0.8)
        >>> settings.describe()["milestones"]
        [30, 60]
        >>> OptimizerSettings("sgd", lr=0.1, lr_schedule="cosine", milestones=(30, 60))
        Traceback (most recent call last):
        awb.errors.AWBError: milestones are for the lr_schedule step, not cosine
    """

    name: str
    lr: float | None
    weight_decay: float = 0.0
    lr_schedule: _LRSchedule = "one_cycle"
    momentum: float | None = None
    nesterov: bool | None = None
    layer_decay: float = 1.0
    decay_norms: bool = True
    clip_norm: float | None = None
    warmup_epochs: float = 0.0
    warmup_lr: float | None = None
    min_lr: float = 0.0
    milestones: tuple[int, ...] = ()
    factor: float | None = None
    plateau_patience: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        _require_known("lr_schedule", self.lr_schedule, get_args(_LRSchedule))
        self._check_ranges()
        self._check_schedule()
        self._check_optimizer()

    def describe(self) -> dict[str, Any]:
        """Settings as plain JSON values, those that were left at their defaults aside."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: values[name] for name in values if name in _ALWAYS_DESCRIBED or name in self._changed()}

    @property
    def by_epoch(self) -> bool:
        """True if the scheduler makes a step after each epoch, with the validation loss: that of `plateau`."""
        return self.lr_schedule == "plateau"

    def build(
        self, parameters: Iterable[Any], steps: int, lr: float | None = None, *, epochs: int | None = None
    ) -> tuple[Optimizer, LRScheduler]:
        """Build the optimiser, and the learning-rate scheduler.

        Call the scheduler's `step()` after each optimiser step; that of `plateau` (`by_epoch`) has `step(loss)`
        instead, to call after each epoch with the validation loss.

        Args:
            parameters: Parameters or parameter groups, with the frozen ones that train later in the stage.
            steps: Number of optimiser steps in the whole stage.
            lr: Learning rate in place of the settings' own; required if that is None. Groups with an `lr` keep it.
            epochs: Number of epochs in the whole stage; required with milestones or a warm-up.

        Raises:
            AWBError: No learning rate is given, `steps` or `epochs` is not positive or missing, the milestones or the
                warm-up do not fit in the stage, or `min_lr` is not below the learning rate of each group.
        """
        lr = self.lr if lr is None else lr
        if lr is None:
            raise AWBError("the learning rate is yet to be found: give it as lr")
        if steps < 1:
            raise AWBError(f"steps={steps!r}: expected at least 1")
        if epochs is None and (self.milestones or self.warmup_epochs):
            raise AWBError("milestones and warm-up are counted in epochs: give the number of the stage's as epochs")
        if epochs is not None:
            self.require_fit(epochs)
        optimizer = self.build_optimizer(parameters, lr)
        lowest = min(group["lr"] for group in optimizer.param_groups)
        if self.min_lr >= lowest:
            raise AWBError(f"min_lr={self.min_lr:g} is not below the lowest learning rate of a group, {lowest:g}")
        if self.warmup_lr is not None and self.warmup_lr >= lr:
            raise AWBError(f"warmup_lr={self.warmup_lr:g} is not below the learning rate, {lr:g}")
        return optimizer, make_scheduler(self, optimizer, lr, steps, 1 if epochs is None else epochs)

    def build_optimizer(self, parameters: Iterable[Any], lr: float) -> Optimizer:
        """Build the optimiser alone.

        Args:
            parameters: Parameters or parameter groups.
            lr: Learning rate; groups with an `lr` keep it.

        Raises:
            AWBError: An optimiser of timm cannot be made here, since a package or a GPU is missing.
        """
        momentum = 0.9 if self.momentum is None else self.momentum
        decay = self.weight_decay
        if self.name == "sgd":
            nesterov = momentum > 0 if self.nesterov is None else self.nesterov
            return torch.optim.SGD(parameters, lr, momentum=momentum, nesterov=nesterov, weight_decay=decay)
        if self.name in get_args(_Torch):
            kind = torch.optim.AdamW if self.name == "adamw" else torch.optim.Adam
            return kind(parameters, lr, weight_decay=decay)
        from timm.optim import create_optimizer_v2  # slow to import

        name = self.name.removeprefix(_TIMM)
        try:
            made: Optimizer = create_optimizer_v2(list(parameters), name, lr=lr, weight_decay=decay, momentum=momentum)
        except Exception as error:  # whatever a package raises
            raise AWBError(f"optimiser {self.name} cannot be made here: {error or type(error).__name__}") from None
        return made

    def require_available(self) -> None:
        """Refuse an optimiser that cannot be made on this machine.

        Raises:
            AWBError: A package or a GPU is missing.
        """
        self.build_optimizer([nn.Parameter(torch.zeros(2, 2))], 1e-3)

    def require_fit(self, epochs: int) -> None:
        """Refuse a stage that is too short.

        Raises:
            AWBError: The warm-up or the milestones do not end before the last of the `epochs`.
        """
        if self.warmup_epochs >= epochs:
            raise AWBError(f"warmup_epochs={self.warmup_epochs:g} is not shorter than the stage, epochs={epochs}")
        if self.milestones and self.milestones[-1] >= epochs:
            raise AWBError(f"milestones {list(self.milestones)}: expected epochs before the stage's end, {epochs}")

    def summary(self) -> tuple[str, str]:
        """Optimiser and learning rate in words, with all settings that are not at their defaults."""
        rate = f"{'to be found' if self.lr is None else format(self.lr, 'g')}, {self.lr_schedule}"
        changed = {name: value for name, value in self._changed().items() if name not in _ALWAYS_DESCRIBED}
        of_schedule = [f", {_words(name, value)}" for name, value in changed.items() if name in _OF_SCHEDULE]
        others = [f", {_words(name, value)}" for name, value in changed.items() if name not in _OF_SCHEDULE]
        return self.name + "".join(others), rate + "".join(of_schedule)

    def _changed(self) -> dict[str, Any]:
        """Settings that are not at their defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def _check_ranges(self) -> None:
        ranges: tuple[tuple[str, float | None, Callable[[float], bool]], ...] = (
            ("lr", self.lr, lambda value: value > 0),
            ("weight_decay", self.weight_decay, lambda value: value >= 0),
            ("momentum", self.momentum, lambda value: 0 <= value < 1),
            ("layer_decay", self.layer_decay, lambda value: 0 < value <= 1),
            ("clip_norm", self.clip_norm, lambda value: value > 0),
            ("warmup_epochs", self.warmup_epochs, lambda value: value >= 0),
            ("warmup_lr", self.warmup_lr, lambda value: value > 0),
            ("min_lr", self.min_lr, lambda value: value >= 0),
            ("factor", self.factor, lambda value: 0 < value < 1),
            ("plateau_patience", self.plateau_patience, lambda value: value >= 0),
        )
        for name, value, holds in ranges:
            if value is not None and not (math.isfinite(value) and holds(value)):
                raise AWBError(f"{name}={value!r} is out of range")

    def _check_schedule(self) -> None:
        """Refuse settings of another schedule, and a schedule without its own."""
        schedule = self.lr_schedule
        for what, given, belongs in (
            ("milestones are", self.milestones, ("step",)),
            ("factor is", self.factor, ("step", "plateau")),
            ("plateau_patience is", self.plateau_patience is not None, ("plateau",)),
            ("min_lr is", self.min_lr, ("cosine", "plateau")),
        ):
            if given and schedule not in belongs:
                raise AWBError(f"{what} for the lr_schedule {' or '.join(belongs)}, not {schedule}")
        if schedule == "step" and not self.milestones:
            raise AWBError("lr_schedule step needs milestones, such as [30, 60], in epochs")
        if schedule == "plateau" and self.plateau_patience is None:
            raise AWBError("lr_schedule plateau needs plateau_patience, such as 3 epochs")
        if self.warmup_epochs and schedule in ("one_cycle", "plateau"):
            why = "has a warm-up of its own" if schedule == "one_cycle" else "has no warm-up"
            raise AWBError(f"lr_schedule {schedule} {why}; warmup_epochs is for cosine, constant and step")
        if self.warmup_lr is not None and not self.warmup_epochs:
            raise AWBError("warmup_lr is given without warmup_epochs")
        ordered = [math.ceil(self.warmup_epochs), *self.milestones]
        if any(before >= after for before, after in itertools.pairwise(ordered)):
            raise AWBError(f"milestones {list(self.milestones)}: expected rising numbers of epochs after the warm-up")

    def _check_optimizer(self) -> None:
        has_momentum = self.name == "sgd"
        if self.name.startswith(_TIMM):
            has_momentum = _require_of_timm(self.name.removeprefix(_TIMM))
        elif self.name not in get_args(_Torch):
            near = did_you_mean(str(self.name), get_args(_Torch))
            raise AWBError(f"optimiser {self.name!r}: expected {', '.join(get_args(_Torch))} or timm:NAME{near}")
        if self.momentum is not None and not has_momentum:
            raise AWBError(f"momentum is for sgd and timm's optimisers that have one, not {self.name}")
        if self.nesterov is not None and self.name != "sgd":
            raise AWBError(f"nesterov is for sgd, not {self.name}")
        if self.nesterov and self.momentum == 0:
            raise AWBError("nesterov is a form of momentum, and momentum is 0")


def _require_of_timm(name: str) -> bool:
    """True if timm's optimiser has a momentum.

    Raises:
        AWBError: There is none of the name, or it needs what a training loop does not give it.
    """
    from timm.optim import get_optimizer_info, list_optimizers  # slow to import

    _require_known("optimiser timm:", name, list_optimizers())
    info = get_optimizer_info(name)
    if info.second_order:
        raise AWBError(f"optimiser timm:{name} needs second derivatives, which training does not compute")
    return bool(info.has_momentum)


def _require_known(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise AWBError(f"{what} {value!r}: expected one of {', '.join(choices)}{did_you_mean(str(value), choices)}")


def _words(name: str, value: Any) -> str:
    shown = f"{value:g}" if isinstance(value, float) else list(value) if isinstance(value, tuple) else value
    return f"{name} {shown}"
