"""Optimiser settings: rates against closed formulas, optimisers against timm's own, and what is refused."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import timm.optim
import torch
from torch import nn

from awb import AWBError
from awb.study import BCELoss, OptimizerSettings, Schedule, TrainingStage
from tests.levels import slow_but

STEPS, EPOCHS = 24, 6  # four steps an epoch


def rates(settings: OptimizerSettings, losses: list[float] | None = None) -> list[float]:
    """The learning rate of each step; `losses` are those of the epochs."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer, scheduler = settings.build([parameter], STEPS, epochs=EPOCHS)
    found = []
    for step in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        parameter.grad = torch.ones(1)
        optimizer.step()
        if losses is None:
            scheduler.step()
        elif step % 4 == 3:
            scheduler.step(losses[step // 4])  # type: ignore[arg-type]
    return found


def test_cosine_after_a_warmup_follows_its_formula() -> None:
    settings = OptimizerSettings("sgd", 0.4, lr_schedule="cosine", warmup_epochs=1.5, warmup_lr=0.1, min_lr=0.02)
    rise = [0.1 + 0.3 * step / 6 for step in range(6)]
    fall = [0.02 + 0.38 * (1 + math.cos(math.pi * step / 18)) / 2 for step in range(18)]
    assert rates(settings) == pytest.approx(rise + fall)


def test_steps_divide_the_rate_at_the_milestones_also_after_a_warmup() -> None:
    plain = OptimizerSettings("sgd", 0.4, lr_schedule="step", milestones=(2, 5), factor=0.5)
    assert rates(plain) == pytest.approx([0.4] * 8 + [0.2] * 12 + [0.1] * 4)
    warm = OptimizerSettings("sgd", 0.4, lr_schedule="step", milestones=(2, 5), warmup_epochs=0.5)
    assert rates(warm) == pytest.approx([0.004, 0.202, *[0.4] * 6, *[0.04] * 12, *[0.004] * 4])


def test_a_plateau_lowers_the_rate_after_epochs_without_a_lower_loss_down_to_its_floor() -> None:
    settings = OptimizerSettings("sgd", 0.4, lr_schedule="plateau", plateau_patience=1, factor=0.5, min_lr=0.15)
    # epochs: first, lower by a hair, not lower twice, not lower twice
    found = rates(settings, [1.0, 1.0 - 1e-9, 1.0, 1.1, 1.2, 1.3])
    assert found == pytest.approx([0.4] * 16 + [0.2] * 8)
    assert settings.by_epoch
    assert rates(settings, [1.0] * 6)[-1] == 0.15


def test_groups_keep_their_shares_of_the_rate() -> None:
    settings = OptimizerSettings("sgd", 0.4, lr_schedule="cosine", warmup_epochs=1)
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.4, 0.1)]
    optimizer, scheduler = settings.build(groups, STEPS, epochs=EPOCHS)
    for _ in range(STEPS - 1):
        large, small = (group["lr"] for group in optimizer.param_groups)
        assert large == pytest.approx(4 * small)
        optimizer.step()
        scheduler.step()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def train(model: nn.Module, optimizer: Any, step: Callable[[], object], first: int, last: int) -> None:
    for i in range(first, last):
        torch.manual_seed(i)  # some optimisers draw random numbers
        optimizer.zero_grad()
        model(torch.randn(5, 1, 8, 8)).square().mean().backward()
        optimizer.step()
        step()


def state(model: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def test_an_optimiser_of_timm_is_timms() -> None:
    mine, its = network(), network()
    optimizer, scheduler = OptimizerSettings("timm:lamb", 0.01, 0.1, "constant").build(mine.parameters(), 9)
    train(mine, optimizer, scheduler.step, 0, 9)
    reference = timm.optim.create_optimizer_v2(list(its.parameters()), "lamb", lr=0.01, weight_decay=0.1)
    train(its, reference, lambda: None, 0, 9)
    assert all(torch.equal(a, b) for a, b in zip(state(mine), state(its), strict=True))


def test_momentum_is_that_of_torch_and_stays_with_one_cycle() -> None:
    mine, its = network(), network()
    settings = OptimizerSettings("sgd", 0.01, 0.1, "constant", momentum=0.5, nesterov=False)
    optimizer, scheduler = settings.build(mine.parameters(), 9)
    train(mine, optimizer, scheduler.step, 0, 9)
    train(its, torch.optim.SGD(its.parameters(), 0.01, momentum=0.5, weight_decay=0.1), lambda: None, 0, 9)
    assert all(torch.equal(a, b) for a, b in zip(state(mine), state(its), strict=True))
    cycled, _ = OptimizerSettings("sgd", 0.01, momentum=0.5).build(network().parameters(), 9)
    assert cycled.param_groups[0]["momentum"] == 0.5
    plain, _ = OptimizerSettings("sgd", 0.01).build(network().parameters(), 9)
    assert plain.param_groups[0]["momentum"] == 0.95
    without, _ = OptimizerSettings("sgd", 0.01, lr_schedule="constant", momentum=0).build(network().parameters(), 9)
    assert not without.param_groups[0]["nesterov"]


OF_GPUS, SECOND_ORDER = ("bnb", "fused"), ["adahessian"]
OF_TIMM = [name for name in timm.optim.list_optimizers(exclude_filters=SECOND_ORDER) if not name.startswith(OF_GPUS)]


@pytest.mark.parametrize("name", slow_but(["lion", "madgrad", "adafactor"], OF_TIMM, pytest.mark.rest))
def test_every_optimiser_of_timm_resumes_to_the_bit(name: str) -> None:
    settings = OptimizerSettings(f"timm:{name}", 0.01, 0.01)  # one cycle, also where there is no momentum to cycle

    def begin() -> tuple[nn.Module, Any, Any]:
        model = network()
        return model, *settings.build(model.parameters(), 20)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of some of the optimisers themselves
        model, optimizer, scheduler = begin()
        train(model, optimizer, scheduler.step, 0, 9)
        whole = state(model)
        model, optimizer, scheduler = begin()
        train(model, optimizer, scheduler.step, 0, 4)
        file = io.BytesIO()
        torch.save([part.state_dict() for part in (model, optimizer, scheduler)], file)
        file.seek(0)
        again = begin()
        for part, saved in zip(again, torch.load(file, weights_only=True), strict=True):
            part.load_state_dict(saved)
        train(again[0], again[1], again[2].step, 4, 9)
    assert all(torch.isfinite(tensor).all() for tensor in whole)
    assert all(torch.equal(a, b) for a, b in zip(whole, state(again[0]), strict=True))


def test_only_what_was_changed_is_described_and_printed() -> None:
    old = OptimizerSettings("sgd", 0.1, 0.2, "cosine")
    assert old.describe() == {"name": "sgd", "lr": 0.1, "weight_decay": 0.2, "lr_schedule": "cosine"}
    new = OptimizerSettings("sgd", 0.1, 0.2, "step", milestones=(2, 5), clip_norm=1.0, momentum=0.8)
    assert new.describe() == old.describe() | {
        "lr_schedule": "step", "milestones": [2, 5], "clip_norm": 1.0, "momentum": 0.8
    }  # fmt: skip
    printed = str(Schedule((TrainingStage("one", 9, BCELoss(), new),)))
    assert "sgd, momentum 0.8, clip_norm 1" in printed
    assert "0.1, step, milestones [2, 5]" in printed


def test_smoothed_labels_are_binary_cross_entropy_towards_a_half() -> None:
    logits, labels = torch.randn(6, 3), (torch.rand(6, 3) > 0.5).float()
    labels[0, 0] = math.nan
    known = ~labels.isnan()
    expected = nn.functional.binary_cross_entropy_with_logits(logits[known], 0.8 * labels[known] + 0.1)
    torch.testing.assert_close(BCELoss(label_smoothing=0.2)(logits, labels), expected)
    assert repr(BCELoss()) == "BCELoss(alpha=None)"
    assert repr(BCELoss(label_smoothing=0.2)) == "BCELoss(alpha=None, label_smoothing=0.2)"
    with pytest.raises(AWBError, match="label_smoothing=1"):
        BCELoss(label_smoothing=1)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("timm:lam", {}, "did you mean 'lamb'"),
        ("timm:adahessian", {}, "needs second derivatives"),
        ("lamb", {}, "expected adamw, adam, sgd or timm:NAME"),
        ("adamw", {"momentum": 0.9}, "momentum is for sgd and timm's optimisers that have one, not adamw"),
        ("timm:lamb", {"momentum": 0.9}, "not timm:lamb"),
        ("timm:lion", {"nesterov": True}, "nesterov is for sgd"),
        ("sgd", {"momentum": 0, "nesterov": True}, "momentum is 0"),
        ("sgd", {"momentum": 1}, "momentum=1 is out of range"),
        ("sgd", {"layer_decay": 0}, "layer_decay=0"),
        ("sgd", {"clip_norm": 0}, "clip_norm=0"),
        ("sgd", {"clip_norm": math.inf}, "clip_norm=inf"),
        ("sgd", {"milestones": (1,)}, "milestones are for the lr_schedule step, not one_cycle"),
        ("sgd", {"lr_schedule": "step"}, "step needs milestones"),
        ("sgd", {"lr_schedule": "step", "milestones": (3, 2)}, "expected rising numbers"),
        ("sgd", {"lr_schedule": "step", "milestones": (2,), "warmup_epochs": 2}, "after the warm-up"),
        ("sgd", {"lr_schedule": "plateau"}, "plateau needs plateau_patience"),
        ("sgd", {"lr_schedule": "plateau", "plateau_patience": 2, "warmup_epochs": 1}, "has no warm-up"),
        ("sgd", {"warmup_epochs": 1}, "has a warm-up of its own"),
        ("sgd", {"lr_schedule": "cosine", "warmup_lr": 0.1}, "without warmup_epochs"),
        ("sgd", {"lr_schedule": "cosine", "factor": 0.1}, "factor is for the lr_schedule step or plateau"),
        ("sgd", {"min_lr": 0.1}, "min_lr is for the lr_schedule cosine or plateau, not one_cycle"),
    ],
)
def test_what_does_not_belong_together_is_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(AWBError, match=words):
        OptimizerSettings(name, 0.1, **options)


@pytest.mark.parametrize(
    ("options", "build", "words"),
    [
        ({"lr_schedule": "cosine", "warmup_epochs": 1}, {}, "counted in epochs"),
        ({"lr_schedule": "cosine", "warmup_epochs": 6}, {"epochs": 6}, "not shorter than the stage"),
        ({"lr_schedule": "step", "milestones": (6,)}, {"epochs": 6}, "before the stage's end, 6"),
        ({"lr_schedule": "cosine", "min_lr": 0.1}, {}, "min_lr=0.1 is not below the lowest learning rate"),
        ({"lr_schedule": "cosine", "warmup_epochs": 1, "warmup_lr": 0.2}, {"epochs": 6}, "warmup_lr=0.2 is not below"),
    ],
)
def test_what_does_not_fit_in_the_stage_is_refused(options: Any, build: Any, words: str) -> None:
    settings = OptimizerSettings("sgd", 0.1, **options)
    with pytest.raises(AWBError, match=words):
        settings.build(network().parameters(), STEPS, **build)


def test_a_stage_names_itself_when_its_warmup_is_too_long() -> None:
    settings = OptimizerSettings("sgd", 0.1, lr_schedule="cosine", warmup_epochs=3)
    with pytest.raises(AWBError, match=r"stage 'one': warmup_epochs=3 is not shorter than the stage, epochs=3"):
        TrainingStage("one", 3, BCELoss(), settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="made there")
def test_an_optimiser_that_needs_a_gpu_is_read_here_but_not_made() -> None:
    settings = OptimizerSettings("timm:fusedlamb", 0.1)
    with pytest.raises(AWBError, match="timm:fusedlamb cannot be made here: "):
        settings.require_available()
