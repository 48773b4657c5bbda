"""Twelve recipes with all that the study varies train two steps in each stage, tiny and from random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from awb.study import Split
from examples.chestxray14.data.nih import read_data_entry
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.data.study import Study
from examples.chestxray14.recipes.find import find_recipe, find_recipes
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.trainer import Trainer

NAMES = (
    "densenet121-plain-bce",
    "densenet121-after-lka-bce_focal",
    "densenet121-last-cbam-default-bce_bce",
    "densenet121-all-lka-default-focal",
    "vgg16_bn-plain-bce_focal",
    "vgg16_bn-after-cbam-focal",
    "vgg16_bn-last-lka-bce_bce",
    "vgg16_bn-all-timm_cbam-default-bce",
    "report-ours2",
    "report-densenet121-last",
    "demo",
    "tiny",
)
# two epochs of one step each; the first is frozen where the recipe freezes
TINY = {
    "model.pretrained": False, "data.image_size": 32, "data.batch_size": 2, "stages.*.epochs": 2,
    "stages.*.optimizer.lr": 1e-4, "training.lr_finder": None,
    "stages.*.keep_best": False,  # the best may be those of the frozen epoch
}  # fmt: skip


def small(name: str) -> Recipe:
    recipe = find_recipe(name)
    frozen = {f"stages.{i}.frozen.backbone": 1 for i, stage in enumerate(recipe.stages) if stage.frozen}
    return find_recipe(name, TINY | frozen)


def small_study(phantoms: Path, split: str) -> Study:
    """Two images for training in either stage, and one patient's for everything else."""
    table = read_data_entry(phantoms / "data" / "Data_Entry_2017_synthetic.csv")
    assert table.groups is not None
    held_out = table.groups == table.groups[np.flatnonzero(table.abnormal)[-1]]
    train = np.flatnonzero(table.abnormal & ~held_out)[:2]
    names = ("stage1/validation", "stage2/validation", "stage2/test" if split == "report" else "test")
    sets = {"stage1/train": train, "stage2/train": train, **dict.fromkeys(names, np.flatnonzero(held_out))}
    return Study(table, ImageStore.open(phantoms / "store"), Split.from_rows(split, table, sets), origin="phantoms")


def test_the_twelve_have_each_value_that_any_recipe_has() -> None:
    every, twelve = (
        [recipe.model_dump(mode="json") for recipe in find_recipes(names).values()] for names in (("*",), NAMES)
    )
    assert len(twelve) == 12
    for key in ("backbone", "final_relu", "placement", "attention", "init"):
        assert {recipe["model"][key] for recipe in twelve} == {recipe["model"][key] for recipe in every}
    # each network with each kind of place, whatever the number of its last blocks
    of_demos = ("efficientnet_lite0", "tiny")
    places, all_places = (
        {(r["model"]["backbone"], r["model"]["placement"]) for r in recipes if r["model"]["backbone"] not in of_demos}
        for recipes in (twelve, every)
    )
    assert places == all_places
    for value in (lambda r: [stage["loss"]["kind"] for stage in r["stages"]], lambda r: r["data"]["split"]["name"]):
        assert {str(value(recipe)) for recipe in twelve} == {str(value(recipe)) for recipe in every}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains_two_steps_in_each_stage(name: str, phantoms: Path, tmp_path: Path) -> None:
    recipe = small(name)
    study = small_study(phantoms, recipe.data.split.name)
    trainer = Trainer(recipe, study, RunFolder(tmp_path / "run"))
    before = {key: tensor.clone() for key, tensor in trainer.model.named_parameters()}
    model = trainer.run()
    assert trainer.steps == 2 * len(recipe.stages)
    after = dict(model.named_parameters())
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    # a first convolution learns, and so does each block
    moved = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert next(iter(before)) in moved
    blocks = {key.partition(".awb.")[0] for key in before if ".awb." in key}
    assert blocks == {key.partition(".awb.")[0] for key in moved if ".awb." in key}
    assert bool(blocks) == (recipe.model.placement != "plain")
