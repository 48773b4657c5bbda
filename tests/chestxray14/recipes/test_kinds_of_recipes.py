"""A recipe's `cbam` is timm's layer, as it has always been, unless the recipe says that it means the papers' kinds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from torch import nn

import awb
from awb.attention.timm_layers import FORMER_NAMES
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.recipes.notes import notes_on
from examples.chestxray14.recipes.schema import Recipe, parse_recipe
from examples.chestxray14.recipes.words import attention_in_words
from examples.chestxray14.reproduction.factors import factors_of
from examples.chestxray14.training.networks import build_model

# of the recipe `densenet121-last-cbam-bce` as it was when there were no papers' kinds
CHECKSUM_OF_BEFORE = "a87e287bd652fec5e4c86fe95f9c0445b7969ef8685e447a19b190a4594f1798"


def tiny(**model: Any) -> Recipe:
    return find_recipe("tiny", {f"model.{key}": value for key, value in model.items()})


def kinds_in(recipe: Recipe) -> list[str]:
    network: nn.Module = build_model(recipe.model, 2, 64, 0)
    return [block.planned.attention for block in awb.awb_blocks(network).values()]


def test_a_recipe_of_before_has_its_network_and_its_checksum() -> None:
    content = json.loads(find_recipe("densenet121-last-timm_cbam-bce").model_dump_json(exclude_defaults=True))
    content["name"], content["model"]["attention"] = "densenet121-last-cbam-bce", "cbam"
    recipe = parse_recipe(content)
    assert recipe.checksum == CHECKSUM_OF_BEFORE
    assert attention_in_words(recipe.model) == "timm_cbam"


@pytest.mark.parametrize("name", FORMER_NAMES)
def test_a_name_of_before_builds_timms_layer(name: str) -> None:
    assert set(kinds_in(tiny(attention=name))) == {f"timm_{name}"}


def test_the_papers_kinds_are_asked_for() -> None:
    recipe = tiny(attention="cbam", kinds="papers")
    assert set(kinds_in(recipe)) == {"cbam"}
    assert recipe.checksum != tiny(attention="cbam").checksum
    mixed = {"1": ["se", ["cbam", {"reduction": 4}]], "2": "timm_se"}
    assert kinds_in(tiny(attention=mixed, kinds="papers", placement=None)) == ["se", "cbam", "timm_se"]


def test_a_name_with_two_meanings_is_explained() -> None:
    (note,) = notes_on(tiny(attention="cbam"))
    assert note.startswith("the blocks are timm's layers, timm_cbam, ")
    for clear in ({"attention": "cbam", "kinds": "papers"}, {"attention": "timm_cbam"}, {"attention": "lka"}):
        assert notes_on(tiny(**clear)) == []


def test_the_report_compares_kinds_and_not_the_key_that_names_them() -> None:
    papers, timms, former = (
        factors_of(tiny(**model))
        for model in ({"attention": "cbam", "kinds": "papers"}, {"attention": "timm_cbam"}, {"attention": "cbam"})
    )
    assert (papers.attention, timms.attention) == ("cbam", "timm_cbam")
    assert papers.rest == timms.rest
    assert timms == former
