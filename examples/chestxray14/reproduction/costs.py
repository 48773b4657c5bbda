"""Parameters and multiply–accumulates of the cells, and the report's Table 4 beside our counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import torchvision
from torch import nn

import awb
from awb import Table
from awb.errors import shortlist
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.words import blocks_in_words
from examples.chestxray14.reproduction.cells import network_key, profile_network
from examples.chestxray14.reproduction.published import TABLE_4, TYPO, Cost


class _Row(NamedTuple):
    network: str
    blocks: str
    image: int
    params: int
    published_params: int | None
    gmacs: str
    published_gmacs: str | None
    cells: str


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


def cost_table(recipes: Mapping[str, Recipe], n_classes: int, *, published: bool) -> Table:
    """One row per network: those of the cells, and the 2025 report's six with its counts beside ours.

    fvcore counts one image in eval mode.

    Args:
        recipes: Recipes by cell.
        n_classes: Number of logits of their networks.
        published: True to show the report's six, if a cell has one of their backbones.
    """
    published = published and any(recipe.model.backbone in _BACKBONES for recipe in recipes.values())
    rows, notes = _published_rows() if published else ([], [])
    notes = [f"networks with {n_classes} outputs, one image in eval mode", *notes]
    groups: dict[Any, list[str]] = {}
    for name, recipe in recipes.items():
        groups.setdefault(network_key(recipe), []).append(name)
    for names in groups.values():
        recipe = recipes[names[0]]
        (profile,) = table = profile_network(recipe, n_classes)
        blocks, size = blocks_in_words(recipe.model), recipe.data.image_size
        gmacs = profile["MACs"] / 1e9
        text = f"{gmacs:.2f}" if gmacs >= 0.1 else f"{gmacs:.4f}"
        rows.append(_Row(recipe.model.backbone, blocks, size, profile["params"], None, text, None, shortlist(names, 3)))
        notes += [f"{recipe.model.backbone}, {note}" for note in table.notes]
    headers = ("network", "blocks", "image", "params", "the 2025 report's", "GMACs", "the 2025 report's ", "cells")
    shown = [i for i, header in enumerate(headers) if published or "2025" not in header]
    return Table(
        tuple(headers[i] for i in shown),
        tuple(tuple(row[i] for i in shown) for row in rows),
        tuple(dict.fromkeys(notes)),
    )


_BACKBONES = {name for cost in TABLE_4 for name in (cost.backbone, f"torchvision:{cost.backbone}")}


def _published_rows() -> tuple[list[_Row], list[str]]:
    ours, found = _table_4()
    rows = [
        _Row(theirs.backbone, f"lka, {theirs.placement}, default", 224, mine.params, theirs.params,
             f"{mine.gmacs:.2f}", f"{theirs.gmacs:.2f}", "Table 4")
        for theirs, mine in zip(TABLE_4, ours, strict=True)
    ]  # fmt: skip
    return rows, ["the 2025 report's Table 4 calls multiply–accumulates FLOPs", TYPO, *found]


@cache
def _table_4() -> tuple[list[Cost], list[str]]:
    return measure(TABLE_4)


def _network(backbone: str) -> nn.Module:
    return awb.replace_head(getattr(torchvision.models, backbone)(weights=None), 14)
