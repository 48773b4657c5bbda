"""Differences between recipes, setting by setting: none may be hidden by a table of the usual factors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from awb import Table
from awb.errors import shortlist
from examples.chestxray14.recipes.overrides import values_by_path
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.words import blocks_in_words, losses_in_words

_ABSENT = "–"
# settings that the columns of the table of recipes show
_FOLLOWS = "data.split.allow_overlap"  # from the split
_SHOWN = re.compile(
    r"model\.(backbone|placement|attention|init|options|kinds)\b.*|data\.(split\..*|image_size)|training\.seed"
    r"|stages\.\d+\.(loss\..*|samples|epochs)"
)


def settings_of(recipe: Recipe) -> dict[str, str]:
    """All settings of a recipe but its name, as text by path: `{"stages.0.optimizer.lr": "0.001", …}`."""
    content = recipe.model_dump(mode="json", exclude={"name"})
    return {path: str(value) for path, value in values_by_path(content, whole_lists=True)}


def recipes_table(recipes: Mapping[str, Recipe], splits: Mapping[str, str]) -> Table:
    """One row per cell: its recipe in words, and every other setting in which it differs from most cells.

    Args:
        recipes: Recipes by cell.
        splits: Name of the split of each cell.
    """
    unusual, usual = _unusual(recipes)
    columns: dict[str, list[Any]] = {
        "network": [recipe.model.backbone for recipe in recipes.values()],
        "blocks": [blocks_in_words(recipe.model) for recipe in recipes.values()],
        "losses": [losses_in_words(recipe.stages) for recipe in recipes.values()],
        "stages' images": [" → ".join(stage.samples for stage in recipe.stages) for recipe in recipes.values()],
        "epochs": [" → ".join(str(stage.epochs) for stage in recipe.stages) for recipe in recipes.values()],
        "split": [splits[name] for name in recipes],
        "image": [recipe.data.image_size for recipe in recipes.values()],
        "seed": [recipe.training.seed for recipe in recipes.values()],
        "other settings": [", ".join(unusual[name]) or None for name in recipes],
    }
    same = {name: values[0] for name, values in columns.items() if len(recipes) > 1 and len(set(values)) == 1}
    shown = {name: values for name, values in columns.items() if name not in same}
    notes = []
    if said := [f"{name} {value}" for name, value in same.items() if value is not None]:
        notes.append(f"the same in all cells: {', '.join(said)}")
    if usual:
        notes.append(f"other settings: those in which a cell differs from most, which have {', '.join(usual)}")
    return Table(("cell", *shown), tuple(zip(recipes, *shown.values(), strict=True)), tuple(notes))


def lonely_table(recipes: Mapping[str, Recipe], paired: set[str]) -> Table | None:
    """Cells that are in no pair, each with the cell that it differs least from, and in what; None without any."""
    settings = {name: settings_of(recipe) for name, recipe in recipes.items()}
    rows = []
    for name in recipes:
        if name not in paired and len(recipes) > 1:
            apart = {other: _differences(settings[name], settings[other]) for other in recipes if other != name}
            nearest = min(apart, key=lambda other: len(apart[other]))
            rows.append((name, nearest, shortlist(apart[nearest], 5)))
    headers = ("cell", "nearest cell", "its settings, where they differ")
    note = "a pair differs in what its question asks about, and in nothing else"
    return Table(headers, tuple(rows), (note,)) if rows else None


def _differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Settings that differ, as `model.dropout 0.3, not 0.1`."""
    paths = dict.fromkeys((*ours, *theirs))
    pairs = ((path, ours.get(path, _ABSENT), theirs.get(path, _ABSENT)) for path in paths if path != _FOLLOWS)
    return [f"{path} {one}, not {other}" for path, one, other in pairs if one != other]


def _unusual(recipes: Mapping[str, Recipe]) -> tuple[dict[str, list[str]], list[str]]:
    """Settings of each cell that are not those of most cells, and then those of most; what a column shows is left out.

    A setting of a stage is compared among the cells that have such a stage.
    """
    settings = {name: settings_of(recipe) for name, recipe in recipes.items()}
    unusual: dict[str, list[str]] = {name: [] for name in recipes}
    usual = []
    for path in dict.fromkeys(path for one in settings.values() for path in one if not _SHOWN.fullmatch(path)):
        values = {name: one[path] for name, one in settings.items() if path in one}
        ((most, _),) = Counter(values.values()).most_common(1)
        differing = {name: value for name, value in values.items() if value != most}
        if differing:
            usual.append(f"{path} {most}")
        for name, value in differing.items():
            unusual[name].append(f"{path} {value}")
    return unusual, usual
