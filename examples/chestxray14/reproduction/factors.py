"""Factors of the study: the differences between cells, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.stage_settings import Loss

PLAIN = "none"
_USUAL = {"gamma": 2.0, "alpha": None, "variant": "two_sided", "label_smoothing": 0.0}  # settings of the study's losses


@dataclass(frozen=True)
class Factors:
    """Values of the study's factors.

    Attributes:
        network: Backbone.
        placement: Placement of the blocks; `none` without blocks.
        attention: Kind of the blocks; `none` without blocks.
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
        "model": model.model_dump(include={"pretrained", "dropout"}),
        "data": data.model_dump(exclude={"split": {"name", "allow_overlap"}}),
        "training": recipe.training.model_dump(),
    }
    return Factors(
        network=model.backbone + ("" if model.final_relu else ", no final ReLU"),
        placement=PLAIN if model.attention is None else str(model.placement),
        attention=PLAIN if model.attention is None else str(model.attention),
        init=model.init or PLAIN,
        losses=" → ".join(_describe(stage.loss) for stage in recipe.stages),
        samples=" → ".join(stage.samples for stage in recipe.stages),
        stages=str([stage.model_dump(exclude={"loss", "samples"}) for stage in recipe.stages]),
        split=data.split.name,
        rest=str(kept),
    )


def split_names(runs: Mapping[str, EvaluatedRun]) -> dict[str, str]:
    """Name of each split by its checksum; with the checksum's start if two splits, of other seeds, share a name."""
    splits = {run.split.checksum: run.split.name for run in runs.values()}
    counts = Counter(splits.values())
    return {key: name if counts[name] == 1 else f"{name} {key[:8]}" for key, name in splits.items()}


def _describe(loss: Loss) -> str:
    unusual = [f"{key} {value}" for key, value in loss.model_dump(exclude={"kind"}).items() if value != _USUAL.get(key)]
    return f"{loss.kind} ({', '.join(unusual)})" if unusual else loss.kind
