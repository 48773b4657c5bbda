"""List recipes, or print one in full.

The default is all recipes of the example. NAME is one of them, or a shell pattern; FILE is a study file or one complete
recipe; STUDY.yaml:CELL is one cell of a study file. A single recipe is printed as YAML, as in the folder of its run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from awb import Table
from examples.chestxray14.commands.arguments import add_set_argument
from examples.chestxray14.recipes.find import find_recipes
from examples.chestxray14.recipes.model_settings import ModelSettings
from examples.chestxray14.recipes.notes import notes_on
from examples.chestxray14.recipes.overrides import read_overrides
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.words import attention_in_words, placement_in_words


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="NAME, FILE or STUDY.yaml:CELL (default: all)")
    parser.add_argument("--json", action="store_true", help="print the recipes in full as JSON, with their checksums")
    parser.add_argument(
        "--cost", action="store_true", help="also print parameters and MACs (1 or 2 s per network on one core)"
    )
    add_set_argument(parser)


def run(args: argparse.Namespace) -> int:
    recipes = find_recipes(args.recipes or ["*"], read_overrides(args.set))
    costs: dict[str, dict[str, int]] = {}
    if args.cost:  # imported here, so that a list without costs comes at once
        from examples.chestxray14.reproduction.cells import profile_networks

        costs = profile_networks(recipes)
    if args.json:
        print(json.dumps([_as_json(name, recipe) | costs.get(name, {}) for name, recipe in recipes.items()], indent=1))
    elif _is_one(args.recipes) and len(recipes) == 1:
        (name,) = recipes
        cost = ", ".join(f"{value:,} {what}" for what, value in costs.get(name, {}).items())
        notes = [cost] * bool(cost) + notes_on(recipes[name])
        from examples.chestxray14.training.networks import require_network  # here, so that a list comes at once

        require_network(recipes[name])
        print("".join(f"# {note}\n" for note in notes) + recipes[name].to_yaml(), end="")
    else:
        print(_table(recipes, costs, names_only=not any(".y" in text for text in args.recipes)))
    return 0


def _is_one(names: list[str]) -> bool:
    """True if one recipe was asked for, not a pattern that happens to match one."""
    return len(names) == 1 and not any(character in names[0] for character in "*?[")


def _as_json(name: str, recipe: Recipe) -> dict[str, Any]:
    return {"name": name, "checksum": recipe.checksum, "recipe": recipe.model_dump(mode="json")}


def _blocks(model: ModelSettings) -> tuple[str | None, str | None]:
    """Placement and attention of a row."""
    if model.attention is None:
        return str(model.placement), None
    return None if model.placement is None else placement_in_words(model), attention_in_words(model)


def _table(recipes: Mapping[str, Recipe], costs: Mapping[str, Mapping[str, int]], *, names_only: bool) -> Table:
    """One row per recipe: what it trains, on what, and with `costs` its size."""
    headers = ["recipe", "network", "placement", "attention", "init", "losses", "epochs", "split", "image"]
    headers += ["params", "GMACs"] if costs else []
    rows = []
    for name, recipe in recipes.items():
        model, data = recipe.model, recipe.data
        row: list[Any] = [
            name, model.backbone, *_blocks(model), model.init,
            " → ".join(stage.loss.kind for stage in recipe.stages),
            " + ".join(str(stage.epochs) for stage in recipe.stages), data.split.name, data.image_size,
        ]  # fmt: skip
        if costs:
            row += [costs[name]["params"], costs[name]["MACs"] / 1e9]
        rows.append(tuple(row))
    one = "NAME" if names_only else "FILE:CELL"
    note = f"{len(recipes)} recipes; `recipes {one}` prints one in full"
    counted = "; parameters and multiply–accumulates of one image, with 14 findings" if costs else ""
    return Table(tuple(headers), tuple(rows), (note + counted,))
