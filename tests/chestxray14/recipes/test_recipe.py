"""Recipes say everything, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

import awb
from awb.study import BCELoss, two_stage
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.recipes.schema import load_recipe, parse_recipe
from examples.chestxray14.recipes.strict_yaml import parse_yaml


def content() -> Any:
    return find_recipe("densenet121-last-lka-bce_focal").model_dump(mode="json")


def test_the_two_stage_recipes_have_the_schedules_of_the_report() -> None:
    ours1, ours2 = (find_recipe(f"vgg16_bn-last-lka-{losses}") for losses in ("bce_bce", "bce_focal"))
    assert ours1.schedule().checksum == two_stage(loss=BCELoss()).checksum
    assert ours2.schedule().checksum == two_stage().checksum


@pytest.mark.parametrize(("ours", "losses"), [(1, "bce_bce"), (2, "bce_focal")])
def test_the_headline_recipes_are_vgg_with_three_blocks_on_the_report_s_split(ours: int, losses: str) -> None:
    # the names of its weights: vgg_lka_3_block_8768 and vgg_lka_3_block_8818
    report = find_recipe(f"report-ours{ours}").model_dump()
    study = find_recipe(f"vgg16_bn-last-lka-{losses}").model_dump()
    assert report["data"]["split"]["name"] == "report"
    differ = {"name", "model", "data", "stages"}
    assert {key for key in report if report[key] != study[key]} == differ
    assert report["model"] == study["model"] | {"init": "default"}
    assert [stage | {"frozen": {}} for stage in study["stages"]] == list(report["stages"])


def test_a_recipe_survives_being_written_and_read(tmp_path: Path) -> None:
    recipe = find_recipe("demo")
    (tmp_path / "copy.yaml").write_text(recipe.to_yaml())
    copy = load_recipe(tmp_path / "copy.yaml")
    assert copy == recipe
    assert copy.checksum == recipe.checksum


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("-2E5", -2e5), ("1.5e-3", 1.5e-3), (".5", 0.5), ("1.", 1.0), ("7", 7), ("'1e-3'", "1e-3"),
     ("e-3", "e-3"), ("1e-3x", "1e-3x"), ("true", True), ("null", None)],
)  # fmt: skip
def test_yaml_means_what_it_looks_like(text: str, value: object) -> None:
    read = parse_yaml(f"a: {text}", "text")["a"]
    assert read == value
    assert type(read) is type(value)


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(awb.AWBError, match="epochs given twice"):
        parse_yaml("epochs: 1\nepochs: 2", "text")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.placment", "all", r"model\.placment is not a key; did you mean 'placement'"),
        ("stages.0.optimizer.learning_rate", 1.0, r"stages\.0\.optimizer\.learning_rate is not a key"),
        ("stages.1.loss.gama", 2.0, r"stages\.1\.loss\.gama is not a key; did you mean 'gamma'"),
        ("training.precision", "fp16", r"training\.precision.*'fp32' or 'bf16'.*'fp16'"),
        ("model.placement", "last:0", r"model\.placement"),
        ("model.dropout", "0.5", r"model\.dropout: expected a number, not '0\.5'"),
        ("model.pretrained", 1, r"model\.pretrained: expected true or false, not 1"),
        ("data.batch_size", 6.5, r"data\.batch_size: expected a whole number, not 6\.5"),
        ("data.batch_size", 0, r"data\.batch_size: expected 1 or more, not 0"),
        ("name", 3, "name: expected text, not 3"),
        ("data.mean", 3, r"data\.mean: expected a list, not 3"),
        ("stages.0.loss", {}, r"stages\.0\.loss: 'kind' is missing"),
        ("stages.0.loss", {"kind": "bec"}, r"loss: 'kind' is 'bec'; expected one of .*; did you mean 'bce'"),
        ("stages", [], "stages: expected at least 1, but there are 0"),
        ("stages.0.optimizer.name", "adamx", r"stages\.0\.optimizer: optimiser 'adamx': .*; did you mean 'adam'"),
        ("model.attention", None, "attention and init are null with placement plain, and only then"),
        ("model.final_relu", False, None),
        (
            "training.lr_finder",
            None,
            "only then: give it, or each stage's optimizer.lr",
        ),
        ("training.accumulation", 3, "batch_size 64 is not a multiple of training.accumulation 3"),
        ("stages.0.frozen.backbone", 99, "frozen for 99 epochs"),
        ("stages.0.optimizer.lr", -1.0, r"lr=-1\.0 is out of range$"),
        ("stages.1.name", "abnormal", "a name of its own"),
        ("data.augmentation.flip", 2.0, "expected probabilities"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: object, message: str | None) -> None:
    recipe = content()
    *above, last = path.split(".")
    place = recipe
    for key in above:
        place = place[int(key)] if key.isdigit() else place[key]
    place[last] = value
    if message is None:
        parse_recipe(recipe)
    else:
        with pytest.raises(awb.AWBError, match=message):
            parse_recipe(recipe)


def test_a_missing_key_is_named() -> None:
    recipe = content()
    del recipe["training"]["seed"]
    with pytest.raises(awb.AWBError, match=r"training\.seed is missing"):
        parse_recipe(recipe)


def test_overrides_replace_values_and_only_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(find_recipe("tiny").to_yaml())
    recipe = load_recipe(path, {"stages.*.epochs": 2, "stages.1.optimizer.lr": 1e-5, "data.image_size": 32})
    assert [stage.epochs for stage in recipe.stages] == [2, 2]
    assert recipe.stages[1].optimizer.lr == 1e-5
    assert recipe.checksum != load_recipe(path).checksum
    for wrong in ("data.imagesize", "stages.5.epochs", "seed", "name.first"):
        with pytest.raises(awb.AWBError, match=r"override .*nothing is at"):
            load_recipe(path, {wrong: 1})


def test_an_override_of_several_places_leaves_them_independent(tmp_path: Path) -> None:
    loss = {"kind": "bce", "alpha": None}
    recipe = find_recipe("tiny", {"stages.*.loss": loss, "stages.1.loss.alpha": 0.25})
    assert [stage.loss.alpha for stage in recipe.stages] == [None, 0.25]
    assert loss["alpha"] is None
