"""The schedule: what each epoch is, a plain loop that resumes exactly, and what is refused."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from awb import AWBError
from awb.study import (
    BCELoss,
    FocalLoss,
    LabelTable,
    OptimizerSettings,
    Schedule,
    ScheduleState,
    TrainingStage,
    freeze_parts,
    two_stage,
)

CONSTANT = OptimizerSettings("sgd", lr=0.1, lr_schedule="constant")
PARTS = {"backbone": lambda name: name.startswith("0.")}


def stage(name: str = "one", epochs: int = 4, **options: Any) -> TrainingStage:
    return TrainingStage(name, epochs, options.pop("loss", BCELoss()), options.pop("optimizer", CONSTANT), **options)


def table(n: int = 12) -> LabelTable:
    labels = (np.arange(n * 2).reshape(n, 2) % 3 == 0).astype(float)
    labels[0] = math.nan
    return LabelTable([f"{i}.png" for i in range(n)], ("a", "b"), labels)


def few_findings(table: LabelTable) -> np.ndarray:
    return np.asarray(np.nansum(table.labels, axis=1) == 0)


def walk(schedule: Schedule, losses: list[float]) -> list[tuple[str, int]]:
    state, left = ScheduleState(schedule), iter(losses)
    seen = []
    for epoch in state:
        seen.append((epoch.stage.name, epoch.index))
        state.finish_epoch(next(left))
    return seen


def test_the_reports_schedule_is_what_it_says() -> None:
    state = ScheduleState(two_stage(first_lr=1e-3))
    epochs = []
    for epoch in state:
        epochs.append(epoch)
        state.finish_epoch(-len(epochs))  # always better
    first, second = epochs[:23], epochs[23:]
    assert len(second) == 10
    assert [bool(epoch.frozen) for epoch in first] == [True] * 3 + [False] * 20
    assert not any(epoch.frozen for epoch in second)
    assert [epoch.first for epoch in epochs] == [True] + [False] * 22 + [True] + [False] * 9
    assert {epoch.stage.samples for epoch in first} == {"abnormal"}
    assert {epoch.stage.samples for epoch in second} == {"all"}
    assert isinstance(first[0].stage.loss, BCELoss)
    loss = second[0].stage.loss
    assert isinstance(loss, FocalLoss)
    assert loss.gamma == 2
    settings = [epochs[i].stage.optimizer for i in (0, -1)]
    assert [(s.name, s.lr, s.weight_decay, s.lr_schedule) for s in settings] == [
        ("adamw", 1e-3, 1e-3, "one_cycle"),
        ("adamw", 8e-5, 1e-2, "one_cycle"),
    ]


def test_samples_of_a_stage_are_the_masks_of_a_table() -> None:
    labels = table()
    assert stage(samples="all").rows(labels).all()
    np.testing.assert_array_equal(stage(samples="abnormal").rows(labels), (labels.labels == 1).any(axis=1))
    assert not stage(samples="abnormal").rows(labels)[0]  # unknown is not known to be abnormal
    np.testing.assert_array_equal(stage(samples=few_findings).rows(labels), few_findings(labels))


def test_patience_ends_a_stage_and_the_best_is_forgotten_between_stages() -> None:
    schedule = Schedule((stage("one", 9, patience=2), stage("two", 2)))
    assert walk(schedule, [3, 2, 2.5, 2.0, 7, 8]) == [*(("one", i) for i in range(4)), ("two", 0), ("two", 1)]
    state = ScheduleState(schedule)
    improved = [state.finish_epoch(loss) for loss in (3, 2, 2.5, 2.0, 7, 8)]
    assert improved == [True, True, False, False, True, False]
    assert state.epoch is None
    assert state.stage_ended


@given(st.lists(st.floats(0, 9), min_size=12, max_size=12), st.integers(0, 12), st.sampled_from([None, 1, 2, 3]))
def test_a_resumed_walk_is_the_unbroken_one(losses: list[float], cut: int, patience: int | None) -> None:
    schedule = Schedule((stage("one", 5, patience=patience, frozen={"x": 2}), stage("two", 3), stage("three", 4)))

    def go(state: ScheduleState, left: list[float], n: int) -> list[Any]:
        seen = []
        while state.epoch is not None and n:
            epoch = state.epoch
            seen.append((epoch, state.finish_epoch(left.pop(0)), state.stage_ended))
            n -= 1
        return seen

    whole = go(ScheduleState(schedule), list(losses), 99)
    state, left = ScheduleState(schedule), list(losses)
    before = go(state, left, cut)
    saved = json.loads(json.dumps(state.state_dict()))
    resumed = ScheduleState(schedule)
    resumed.load_state_dict(saved)
    assert resumed.state_dict() == state.state_dict()
    assert before + go(resumed, left, 99) == whole


class Run:
    """A plain loop on a tiny model, which can be stopped after any epoch and goes on from its checkpoint."""

    def __init__(self, schedule: Schedule, checkpoint: dict[str, Any] | None = None) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2)).double()
        self.state = ScheduleState(schedule)
        self.optimizer: Any = None
        self.best: Any = None
        if checkpoint is not None:
            checkpoint = copy.deepcopy(checkpoint)
            self.model.load_state_dict(checkpoint["model"])
            self.state.load_state_dict(checkpoint["state"])
            self.best = checkpoint["best"]
            if self.state.epoch is not None and not self.state.epoch.first:
                self.build()
                self.optimizer.load_state_dict(checkpoint["optimizer"])
                self.scheduler.load_state_dict(checkpoint["scheduler"])

    def build(self) -> None:
        assert self.state.epoch is not None
        epoch = self.state.epoch
        steps = epoch.stage.epochs * 3
        self.optimizer, self.scheduler = epoch.stage.optimizer.build(self.model.parameters(), steps, epoch.lr)

    def train(self, features: torch.Tensor, labels: LabelTable, epochs: int = 99) -> Run:
        targets = torch.tensor(labels.labels)
        for epoch in self.state:
            if epoch.first:
                self.build()
            self.model.train()
            freeze_parts(self.model, PARTS, epoch.frozen)
            rows = torch.tensor(epoch.stage.rows(labels))
            for _ in range(3):
                self.optimizer.zero_grad()
                epoch.stage.loss(self.model(features[rows]), targets[rows]).backward()
                self.optimizer.step()
                self.scheduler.step()
            if self.state.finish_epoch(BCELoss()(self.model(features), targets).item()):
                self.best = copy.deepcopy(self.model.state_dict())
            if self.state.stage_ended:
                self.model.load_state_dict(self.best)
            epochs -= 1
            if not epochs:
                break
        return self

    def checkpoint(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler, "state": self.state}
        return {"best": self.best, **{name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}}


@pytest.mark.parametrize("stop", [1, 2, 3, 5, 6, 7])
def test_a_plain_loop_stopped_after_any_epoch_ends_with_the_same_weights(stop: int) -> None:
    adam = OptimizerSettings("adamw", lr=0.05, weight_decay=0.01)
    first = stage("abnormal", 5, samples="abnormal", optimizer=adam, frozen={"backbone": 2})
    schedule = Schedule((first, stage("all", 3, optimizer=adam, loss=FocalLoss())))
    features, labels = torch.randn(12, 4, dtype=torch.float64), table()
    whole = Run(schedule).train(features, labels).model.state_dict()
    broken = Run(schedule).train(features, labels, epochs=stop)
    resumed = Run(schedule, broken.checkpoint()).train(features, labels).model.state_dict()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_frozen_parts_and_their_statistics_do_not_move_and_then_do() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), nn.BatchNorm1d(4), nn.Linear(4, 2))
    before = copy.deepcopy(model.state_dict())

    def step() -> set[str]:
        start = copy.deepcopy(model.state_dict())
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        model(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
        return {key for key, value in model.state_dict().items() if not torch.equal(value, start[key])}

    model.train()
    freeze_parts(model, PARTS, {"backbone"})
    moved = step()
    assert {"1.running_mean", "2.weight"} <= moved
    assert not any(key.startswith("0.") for key in moved)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items() if key.startswith("0."))
    model.train()
    freeze_parts(model, PARTS, ())
    assert {"0.0.weight", "0.1.running_mean", "2.weight"} <= step()


def test_more_stages_and_gradual_unfreezing_fall_out_of_it() -> None:
    gradual = stage("all", 4, frozen={"stem": 3, "body": 1})
    schedule = Schedule((stage("few", 1, samples=few_findings), stage("abnormal", 1, samples="abnormal"), gradual))
    state, seen = ScheduleState(schedule), []
    for epoch in state:
        seen.append((epoch.stage.name, sorted(epoch.frozen)))
        state.finish_epoch(0.0)
    assert seen == [
        ("few", []),
        ("abnormal", []),
        ("all", ["body", "stem"]),
        ("all", ["stem"]),
        ("all", ["stem"]),
        ("all", []),
    ]


def test_a_learning_rate_that_was_found_is_kept_in_the_state() -> None:
    schedule = two_stage()
    state = ScheduleState(schedule)
    assert state.epoch is not None
    assert state.epoch.lr is None
    parameters = [nn.Parameter(torch.zeros(1))]
    with pytest.raises(AWBError, match="yet to be found"):
        state.epoch.stage.optimizer.build(parameters, 10, state.epoch.lr)
    state.set_lr(3e-4)
    resumed = ScheduleState(schedule)
    resumed.load_state_dict(json.loads(json.dumps(state.state_dict())))
    assert resumed.epoch is not None
    optimizer, _ = resumed.epoch.stage.optimizer.build(parameters, 10, resumed.epoch.lr)
    assert optimizer.param_groups[0]["max_lr"] == 3e-4
    resumed.finish_epoch(1.0)
    with pytest.raises(AWBError, match="before its stage begins"):
        resumed.set_lr(1e-3)


@pytest.mark.parametrize("lr_schedule", ["one_cycle", "cosine", "constant"])
@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_learning_rates_follow_torchs_schedules(name: Any, lr_schedule: Any) -> None:
    settings = OptimizerSettings(name, lr=0.1, weight_decay=0.2, lr_schedule=lr_schedule)
    groups = [{"params": [nn.Parameter(torch.zeros(1))]}, {"params": [nn.Parameter(torch.zeros(1))], "lr": 0.01}]
    optimizer, scheduler = settings.build(groups, 20)
    rates = []
    for _ in range(20):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if len(rates) < 20:
            scheduler.step()
    highest = torch.tensor(rates).max(0).values
    torch.testing.assert_close(highest, torch.tensor([0.1, 0.01]), rtol=1e-3, atol=0)
    assert (rates[-1] == rates[0]) == (lr_schedule == "constant")
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.2}


def test_a_state_of_another_schedule_is_refused() -> None:
    state = ScheduleState(two_stage()).state_dict()
    same = ScheduleState(two_stage())
    same.load_state_dict(state)
    others = [two_stage(loss=BCELoss()), two_stage(second_lr=1e-4), two_stage(frozen_epochs=2), two_stage(part="stem")]
    others.append(two_stage(loss=FocalLoss(alpha=torch.tensor([0.5, 0.25]))))
    assert len({schedule.checksum for schedule in (two_stage(), *others)}) == 6
    for other in others:
        with pytest.raises(AWBError, match="another schedule"):
            ScheduleState(other).load_state_dict(state)
    with pytest.raises(AWBError, match="not a ScheduleState state dict"):
        same.load_state_dict({"epoch": 3})


def test_the_checksum_is_the_same_in_every_process() -> None:
    """Written down on 2026-11-24; another one means that runs begun before cannot resume."""
    assert two_stage().checksum.startswith("ceb5f288577944b0e5b0")


def test_a_schedule_prints_every_stage() -> None:
    printed = str(two_stage())
    for word in ("abnormal", "BCELoss", "backbone 3", "to be found, one_cycle", "FocalLoss", "8e-05"):
        assert word in printed


def forgetful() -> None:
    for _ in ScheduleState(Schedule((stage(),))):
        pass


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (forgetful, "was not finished: call finish_epoch"),
        (lambda: ScheduleState(Schedule((stage(),))).finish_epoch(), "needs a validation loss"),
        (lambda: ScheduleState(Schedule((stage(),))).finish_epoch(math.nan), "validation loss nan"),
        (lambda: ScheduleState(Schedule((stage(),))).set_lr(-1), "lr=-1"),
        (lambda: Schedule(()), "at least one"),
        (lambda: Schedule((stage(), stage())), "a name of its own"),
        (lambda: stage(epochs=0), "epochs=0"),
        (lambda: stage(samples="abnornal"), "did you mean 'abnormal'"),
        (lambda: stage(samples=lambda table: table.abnormal), "has no name"),
        (lambda: stage(loss=lambda x, y: x), "has no name"),
        (lambda: stage(frozen={"backbone": 5}), "frozen for 5 epochs; expected 0 to 4"),
        (lambda: stage(patience=0), "patience=0"),
        (lambda: stage(samples=np.zeros_like).rows(table()), "expected a boolean mask"),
        (lambda: stage(samples="abnormal").rows(table().take([0])), "none of 1 images"),
        (lambda: OptimizerSettings("adamW", 1.0), "did you mean 'adamw'"),
        (lambda: OptimizerSettings("adam", 1.0, lr_schedule="onecycle"), "did you mean 'one_cycle'"),
        (lambda: OptimizerSettings("adam", 0.0), "lr=0.0"),
        (lambda: OptimizerSettings("adam", 0.1, weight_decay=-1), "weight_decay=-1"),
        (lambda: CONSTANT.build([], 0), "steps=0"),
        (lambda: freeze_parts(nn.Linear(1, 1), {"backbone": bool}, ["head"]), "no part 'head'"),
        (lambda: freeze_parts(nn.Linear(1, 1), PARTS, []), "part 'backbone' has no parameter of Linear"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(call: Any, words: str) -> None:
    with pytest.raises(AWBError, match=words):
        call()


def test_the_end_is_the_end() -> None:
    state = ScheduleState(Schedule((stage(epochs=1, keep_best=False),)))
    assert state.finish_epoch() is False
    assert list(state) == []
    with pytest.raises(AWBError, match="at its end"):
        state.finish_epoch()
