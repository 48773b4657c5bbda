"""Parameters and multiply–accumulates of the cells, and the report's Table 4 beside our counts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from typing import Any

import torchvision
from torch import nn

import awb
from awb import Table
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.reproduction.cells import profile_network
from examples.chestxray14.reproduction.published import TABLE_4, TYPO, Cost


def measure(costs: Iterable[Cost]) -> tuple[list[Cost], list[str]]:
    """Count parameters and MACs of some lines of Table 4 ourselves.

    Returns:
        The same lines with our counts, and notes on what fvcore did not count.
    """
    measured, notes = [], list[str]()
    for cost in costs:
        table = awb.profile_placements(partial(_network, cost.backbone), [cost.stages], 224)
        (profile,) = table
        measured.append(cost._replace(params=profile["params"], gmacs=round(profile["MACs"] / 1e9, 2)))
        notes += [f"{cost.backbone}, {note}" for note in table.notes]
    return measured, list(dict.fromkeys(notes))


def cost_table(recipes: Iterable[Recipe]) -> Table:
    """One row per network: the report's six, with its counts beside ours, then the cells' networks.

    All have 14 findings; fvcore counts one image in eval mode.

    Args:
        recipes: Recipes of the cells.
    """
    headers = ("network", "blocks", "image", "params", "the 2025 report's", "GMACs", "the 2025 report's ")
    ours, found = _table_4()
    notes = [
        "networks with 14 findings, one image in eval mode",
        "the 2025 report's Table 4 calls multiply–accumulates FLOPs",
        TYPO,
        *found,
    ]
    rows: list[tuple[Any, ...]] = [
        (theirs.backbone, f"lka, {theirs.placement}", 224, mine.params, theirs.params, f"{mine.gmacs:.2f}",
         f"{theirs.gmacs:.2f}")
        for theirs, mine in zip(TABLE_4, ours, strict=True)
    ]  # fmt: skip
    there: set[tuple[object, ...]] = {(cost.backbone, "lka", cost.stages, 224, "{}", "{}") for cost in TABLE_4}
    for recipe in recipes:
        model, size = recipe.model, recipe.data.image_size
        options = str(model.options), str(model.backbone_options)
        key = (model.backbone, str(model.attention), model.placement, size, *options)
        if key in there:
            continue
        there.add(key)
        table = profile_network(recipe)
        (profile,) = table
        blocks = "none" if model.attention is None else f"{model.attention}, {model.placement}"
        gmacs = profile["MACs"] / 1e9
        text = f"{gmacs:.2f}" if gmacs >= 0.1 else f"{gmacs:.4f}"
        rows.append((model.backbone, blocks, size, profile["params"], None, text, None))
        notes += [f"{model.backbone}, {note}" for note in table.notes]
    return Table(headers, tuple(rows), tuple(dict.fromkeys(notes)))


@cache
def _table_4() -> tuple[list[Cost], list[str]]:
    return measure(TABLE_4)


def _network(backbone: str) -> nn.Module:
    return awb.replace_head(getattr(torchvision.models, backbone)(weights=None), 14)
