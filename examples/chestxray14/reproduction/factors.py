"""Factors of the study: the differences between cells, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from examples.chestxray14.evaluation.evaluated_run import RunSummary
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.words import NONE, attention_in_words, losses_in_words, placement_in_words

PLAIN = NONE  # placement, kind and start of a network without blocks
# the last two say only where blocks are found
_OF_FACTORS = {"backbone", "final_relu", "placement", "attention", "init", "options", "kinds", "body", "imports"}


@dataclass(frozen=True)
class Factors:
    """Values of the study's factors.

    Attributes:
        network: Backbone.
        placement: Placement of the blocks; `none` without blocks.
        attention: Kind of the blocks, with its options; `none` without blocks.
        init: Initialisation of the blocks; `none` without blocks.
        losses: Losses of the stages, such as `bce → focal`; settings other than the study's are named.
        samples: Images of the stages, such as `abnormal → all`.
        stages: All other settings of the stages: epochs, frozen parts, optimisers.
        split: Name of the split.
        rest: All other settings of the recipe but its name: two cells that agree in every factor are one.
    """

    network: str
    placement: str
    attention: str
    init: str
    losses: str
    samples: str
    stages: str
    split: str
    rest: str


def factors_of(recipe: Recipe) -> Factors:
    """The factors of a recipe. Image size, augmentation, seed and the like are in `rest`."""
    model, data = recipe.model, recipe.data
    kept = {
        "model": model.model_dump(exclude=_OF_FACTORS),
        "data": data.model_dump(exclude={"split": {"name", "allow_overlap"}}),
        "training": recipe.training.model_dump(),
    }
    return Factors(
        network=model.backbone + ("" if model.final_relu else ", no final ReLU"),
        placement=placement_in_words(model),
        attention=attention_in_words(model),
        init=model.init or PLAIN,
        losses=losses_in_words(recipe.stages),
        samples=" → ".join(stage.samples for stage in recipe.stages),
        stages=str([stage.model_dump(exclude={"loss", "samples"}) for stage in recipe.stages]),
        split=data.split.name,
        rest=str(kept),
    )


def split_names(runs: Mapping[str, RunSummary]) -> dict[str, str]:
    """Name of each split by its checksum; with the checksum's start if two splits, of other seeds, share a name."""
    splits = {run.split.checksum: run.split.name for run in runs.values()}
    counts = Counter(splits.values())
    return {key: name if counts[name] == 1 else f"{name} {key[:8]}" for key, name in splits.items()}
