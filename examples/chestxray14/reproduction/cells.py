"""Cells of a study: the recipe of each, and the estimated cost of training it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import awb
from awb import AWBError, Table
from awb.errors import first_line
from examples.chestxray14.data.dataset import count_steps
from examples.chestxray14.data.nih import FINDINGS
from examples.chestxray14.data.study import Study
from examples.chestxray14.recipes.find import find_recipes
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.study_file import require_different_runs
from examples.chestxray14.training.networks import build_model

_BACKWARD = 2  # a backward pass costs two forward passes


def find_cells(patterns: Sequence[str] = (), overrides: Mapping[str, Any] | None = None) -> dict[str, Recipe]:
    """Recipes of the cells by name; no two may be the same run.

    Args:
        patterns: Patterns as in `find_recipes`; by default the whole study.
        overrides: Values by path for all cells, as in `load_recipe`.

    Raises:
        AWBError: Two cells are the same run, or as `find_recipes`.
    """
    cells = find_recipes(patterns, overrides)
    require_different_runs(cells)
    return cells


def estimate(cells: Mapping[str, Recipe], studies: Iterable[Study], tflops: float) -> Table:
    """Estimate the cost of each cell, without training any.

    Args:
        cells: Recipes by name.
        studies: Study of each cell, in the order of the cells.
        tflops: 10¹² floating-point operations a second that the machine sustains.

    Returns:
        One row per cell: training images of each stage, epochs, optimiser steps, operations, hours.
    """
    profiles = profile_networks(cells)
    rows = []
    for (name, recipe), study in zip(cells.items(), studies, strict=True):
        images = [len(study.train(stage)) for stage in recipe.stages]
        an_epoch = [count_steps(n, recipe.data.batch_size) for n in images]  # what does not fill a step is left out
        checked = [len(study.validation(stage)) for stage in recipe.stages]
        epochs = [stage.epochs for stage in recipe.stages]
        steps = sum(e * n for e, n in zip(epochs, an_epoch, strict=True))
        validated = sum(e * n for e, n in zip(epochs, checked, strict=True))
        passes = (1 + _BACKWARD) * steps * recipe.data.batch_size + validated
        operations = 2 * profiles[name]["MACs"] * (passes + checked[-1] + len(study.test))
        rows.append((
            name, study.split.name, " + ".join(f"{n:,}" for n in images), " + ".join(map(str, epochs)), steps,
            operations / 1e15, operations / (tflops * 1e12) / 3600,
        ))  # fmt: skip
    rows.append(("all", "", "", "", sum(r[4] for r in rows), sum(r[5] for r in rows), sum(r[6] for r in rows)))
    headers = ("cell", "split", "training images", "epochs", "steps", "10¹⁵ operations", "hours")
    note = (
        f"Operations: 2 × fvcore's MACs, a backward pass as two forward ones, no stage stopped early, no part frozen. "
        f"Hours at {tflops:g} TFLOP/s sustained (--tflops), reading and decoding not counted."
    )
    return Table(headers, tuple(rows), (note,))


def profile_networks(recipes: Mapping[str, Recipe]) -> dict[str, dict[str, int]]:
    """Parameters (`params`) and `MACs` of each recipe's network by the recipe's name; equal networks are built once."""
    counted: dict[Hashable, dict[str, int]] = {}
    profiles = {}
    for name, recipe in recipes.items():
        key = network_key(recipe)
        if key not in counted:
            (row,) = profile_network(recipe)
            counted[key] = {what: row[what] for what in ("params", "MACs")}
        profiles[name] = counted[key]
    return profiles


def network_key(recipe: Recipe) -> Hashable:
    """Key of a recipe's network, the same for networks with the same parameters and MACs."""
    # of what is left, the start decides too: a block that starts as the identity may have a scale per channel
    model = recipe.model.model_copy(update={"pretrained": False, "dropout": 0.0})
    return model.model_dump_json(), recipe.data.image_size


def profile_network(recipe: Recipe, n_classes: int = len(FINDINGS)) -> Table:
    """One-row table of parameters and MACs of a recipe's network, by `awb.profile_placements`.

    Args:
        recipe: The recipe.
        n_classes: Number of logits.

    Raises:
        AWBError: The network cannot be built, or fvcore cannot count its operations.
    """
    size = recipe.data.image_size
    try:
        return awb.profile_placements(
            lambda: build_model(recipe.model, n_classes, size, 0, pretrained=False).eval(), {recipe.name: None}, size
        )
    except AWBError:
        raise
    except Exception as error:  # of fvcore, which traces the network
        raise AWBError(
            f"{recipe.name}: fvcore cannot count the operations of {recipe.model.backbone} ({first_line(error)})"
        ) from error
