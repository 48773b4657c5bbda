"""The trainer's steps against a plain loop of torch, its parameter groups, and runs that are killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

import awb
from awb.study import OptimizerSettings
from examples.chestxray14.data.study import load_study
from examples.chestxray14.recipes.schema import LRFinderSettings, Recipe, parse_recipe
from examples.chestxray14.training.lr_finder import find_lr
from examples.chestxray14.training.networks import build_model
from examples.chestxray14.training.optimizer import parameter_groups
from tests.chestxray14.small_runs import equal, tiny_recipe, train, train_until_killed, weights
from tests.chestxray14.training.test_resume import rows


def recipe_with(keep_best: bool = True, **optimizer: Any) -> Recipe:
    """The last stage of the tiny recipe with other settings of its optimiser, four epochs of seven steps."""
    recipe = tiny_recipe(**{"stages__*__epochs": 4, "stages__*__frozen": {}, "model__dropout": 0.0})
    content = recipe.model_dump(mode="json")
    content["stages"] = content["stages"][-1:]
    content["stages"][0]["keep_best"] = keep_best
    content["stages"][0]["optimizer"] |= {"lr": 0.01, **optimizer}
    return parse_recipe(content)


def loop(recipe: Recipe, phantoms: Path, make: Any) -> nn.Module:
    """One stage by hand, on the batches that the trainer would take, with its loss.

    `make` gives the optimiser, and functions to call before each of its steps, after it, and after each epoch.
    """
    from examples.chestxray14.data.dataset import EpochBatches, XrayDataset, random_key

    study = load_study(phantoms / "data", phantoms / "store", recipe.data.split)
    (stage,), seed = recipe.schedule().stages, recipe.training.seed
    model = build_model(recipe.model, len(study.table.classes), recipe.data.image_size, seed)
    data = XrayDataset(study.store, study.train(stage), recipe.data.transform(training=True), seed)
    held_out = XrayDataset(study.store, study.validation(stage), recipe.data.transform(training=False), seed)
    optimizer, before, after, at_end = make(model)
    for epoch in range(stage.epochs):
        data.set_epoch(stage.name, epoch)
        order = random_key(seed, stage.name, epoch, "order")
        for batch in EpochBatches(len(data), recipe.data.batch_size, 1, order):
            images, targets, _ = zip(*(data[row] for row in batch), strict=True)
            optimizer.zero_grad()
            stage.loss(model.train()(torch.stack(images)), torch.stack(targets)).backward()
            before()
            optimizer.step()
            after()
        with torch.no_grad():
            images, targets, _ = zip(*held_out, strict=True)
            at_end(float(stage.loss(model.eval()(torch.stack(images)), torch.stack(targets))))
    return model


def require_same(mine: Path, its: nn.Module) -> None:
    found, expected = weights(mine), its.state_dict()
    assert max(float((found[name] - expected[name]).abs().max()) for name in expected) < 1e-6


def test_sgd_with_clipping_and_steps_is_torchs_loop(phantoms: Path, tmp_path: Path) -> None:
    recipe = recipe_with(
        keep_best=False, name="sgd", momentum=0.8, nesterov=False, clip_norm=0.05, weight_decay=0.01,
        lr_schedule="step", milestones=[1, 3], factor=0.2,
    )  # fmt: skip
    norms = []

    def make(model: nn.Module) -> Any:
        optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.8, weight_decay=0.01)
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 3], 0.2)  # by epoch

        def clip() -> None:
            norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.05)))

        return optimizer, clip, lambda: None, lambda _: scheduler.step()

    train(recipe, phantoms, tmp_path / "run")
    require_same(tmp_path / "run", loop(recipe, phantoms, make))
    assert max(norms) > 0.05  # it does clip


@pytest.mark.slow
def test_a_plateau_is_torchs_loop(phantoms: Path, tmp_path: Path) -> None:
    plateau = {"lr_schedule": "plateau", "plateau_patience": 0, "factor": 0.5, "weight_decay": 0.0}
    recipe = recipe_with(False, name="sgd", lr=1.0, momentum=0.0, **plateau)
    lowered = []

    def make(model: nn.Module) -> Any:
        optimizer = torch.optim.SGD(model.parameters(), 1.0)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0)

        def end(loss: float) -> None:
            scheduler.step(loss)
            lowered.append(optimizer.param_groups[0]["lr"])

        return optimizer, lambda: None, lambda: None, end

    train(recipe, phantoms, tmp_path / "run")
    require_same(tmp_path / "run", loop(recipe, phantoms, make))
    rates = {float(rate) for (rate,) in rows(tmp_path / "run" / "steps.csv", "lr")}
    assert rates == {1.0, *lowered[:-1]}
    assert len(rates) > 1


FULL = {
    "plateau": {"name": "adamw", "lr_schedule": "plateau", "plateau_patience": 0, "lr": 0.3},
    "layers": {
        "name": "timm:lamb", "lr_schedule": "cosine", "warmup_epochs": 1.0, "min_lr": 1e-5, "layer_decay": 0.5,
        "decay_norms": False, "clip_norm": 1.0,
    },
    "steps": {
        "name": "timm:nadamw", "lr_schedule": "step", "milestones": [2, 3], "warmup_epochs": 0.5, "clip_norm": 0.1
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        pytest.param("plateau", 16, marks=pytest.mark.slow),
        pytest.param("layers", 5, marks=pytest.mark.slow),
        *(pytest.param("plateau", step, marks=pytest.mark.rest) for step in (7, 21, 27)),
        *(pytest.param(name, step, marks=pytest.mark.rest) for name in ("layers", "steps") for step in (8, 15, 22)),
    ],
)
def test_killed_after_a_step_it_goes_on(settings: str, step: int, phantoms: Path, tmp_path: Path) -> None:
    recipe = recipe_with(**FULL[settings])
    train_until_killed(recipe, phantoms, tmp_path / "whole")
    train_until_killed(recipe, phantoms, tmp_path / "run", "kill_after_step", step)
    train_until_killed(recipe, phantoms, tmp_path / "run")
    assert equal(weights(tmp_path / "run"), weights(tmp_path / "whole"))
    assert (tmp_path / "run" / "steps.csv").read_bytes() == (tmp_path / "whole" / "steps.csv").read_bytes()


def network() -> nn.Module:
    return build_model(tiny_recipe().model, 3, 32, 0, pretrained=False)


def test_layers_learn_at_decaying_rates_and_blocks_and_classifier_at_the_full_one() -> None:
    model = network()
    settings = OptimizerSettings("adamw", 0.1, 0.01, layer_decay=0.5)
    rate = {id(p): group["lr"] for group in parameter_groups(model, settings, 0.1) for p in group["params"]}
    decay = {id(p): g["weight_decay"] for g in parameter_groups(model, settings, 0.1) for p in g["params"]}
    assert set(rate) == {id(parameter) for parameter in model.parameters()}
    by_name = {name: rate[id(parameter)] for name, parameter in model.named_parameters()}
    new = [value for name, value in by_name.items() if ".awb." in name or name.startswith("classifier.")]
    assert set(new) == {0.1}
    assert len(new) > 10
    assert [by_name[f"layers.{i}.0.weight"] for i in range(3)] == [0.025, 0.05, 0.1]
    assert set(decay.values()) == {0.01}  # also of norms, as without layers
    without = parameter_groups(model, replace(settings, decay_norms=False, layer_decay=1.0), 0.1)
    decay = {id(p): group["weight_decay"] for group in without for p in group["params"]}
    spared = {name for name, parameter in model.named_parameters() if not decay[id(parameter)]}
    assert {"layers.0.0.bias", "layers.0.1.weight", "classifier.1.bias"} <= spared
    assert "layers.0.0.weight" not in spared
    assert parameter_groups(model, OptimizerSettings("adamw", 0.1), 0.1) == list(model.parameters())


def test_layer_decay_is_refused_where_no_layers_are_known() -> None:
    model = nn.Module()
    model.body, model.classifier = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
    with pytest.raises(awb.AWBError, match=r"layer_decay 0\.5: the layers of Module are not known"):
        parameter_groups(model, OptimizerSettings("sgd", 0.1, layer_decay=0.5), 0.1)


@pytest.mark.parametrize(
    "settings",
    [
        OptimizerSettings("timm:lamb", None, layer_decay=0.5, decay_norms=False, clip_norm=1.0),
        OptimizerSettings("sgd", None, lr_schedule="cosine", warmup_epochs=1, min_lr=1e-3),
        OptimizerSettings("adamw", None, lr_schedule="plateau", plateau_patience=1),
    ],
)
def test_the_lr_finder_takes_any_optimiser_and_frozen_parts(settings: OptimizerSettings) -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for parameter in model.layers.parameters():  # type: ignore[union-attr]
        parameter.requires_grad_(False)
    images, targets = torch.randn(16, 3, 32, 32), (torch.rand(16, 3) > 0.5).float()

    def step() -> float:
        loss = binary_cross_entropy_with_logits(model(images), targets)
        loss.backward()
        return float(loss.detach())

    finder = LRFinderSettings(lowest=1e-4, highest=10.0, steps=40)
    lr = find_lr(model, settings, finder, iter([step] * 40))
    assert 1e-4 < lr < 10
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_an_impossible_optimiser_is_refused_before_training(phantoms: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("it is possible there")
    with pytest.raises(awb.AWBError, match="timm:fusedlamb cannot be made here"):
        train(recipe_with(name="timm:fusedlamb"), phantoms, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        ({"name": "timm:lam"}, "stages.0.optimizer: optimiser timm: 'lam'"),
        ({"lr_schedule": "step"}, "stages.0.optimizer: lr_schedule step needs milestones"),
        ({"lr_schedule": "cosine", "warmup_epochs": 4.0}, "stage 'all': warmup_epochs=4 is not shorter"),
    ],
)
def test_a_recipe_says_where_its_optimiser_is_wrong(optimizer: dict[str, Any], words: str) -> None:
    with pytest.raises(awb.AWBError, match=words):
        recipe_with(**optimizer)


def test_new_keys_enter_the_checksum_only_where_they_differ() -> None:
    plain = recipe_with()
    assert recipe_with(clip_norm=None, milestones=[], layer_decay=1.0).checksum == plain.checksum
    assert recipe_with(clip_norm=1.0).checksum != plain.checksum
    assert plain.schedule().checksum == recipe_with(momentum=None).schedule().checksum
    assert np.unique([recipe_with(clip_norm=c).schedule().checksum for c in (None, 1.0, 2.0)]).size == 3
