"""What tells one cell from another, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun
from examples.chestxray14.recipes.schema import BCESettings, FocalSettings, Recipe

PLAIN = "none"
_USUAL = {"gamma": 2.0, "alpha": None, "variant": "two_sided"}  # of losses, in the study


@dataclass(frozen=True)
class Factors:
    """The factors of the study.

    Attributes:
        network: The backbone.
        placement: Of the blocks, `none` if there are none.
        attention: Their kind, `none` as well.
        init: How they begin, `none` as well.
        losses: Of the stages, such as `bce → focal`; settings that are not the study's are named.
        samples: Of the stages, such as `abnormal → all`.
        stages: All else of the stages: epochs, frozen parts, optimisers.
        split: Its name.
        rest: All else of the recipe but its name, so that two cells that agree in all of these are one.
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
    """A recipe's factors. Image size, augmentation, seed and the like are in `rest`."""
    model, data = recipe.model, recipe.data
    kept = {
        "model": model.model_dump(include={"pretrained", "dropout"}),
        "data": data.model_dump(exclude={"split": {"name", "allow_overlap"}}),
        "training": recipe.training.model_dump(),
    }
    return Factors(
        network=model.backbone + ("" if model.final_relu else ", no final ReLU"),
        placement=PLAIN if model.attention is None else model.placement,
        attention=model.attention or PLAIN,
        init=model.init or PLAIN,
        losses=" → ".join(_describe(stage.loss) for stage in recipe.stages),
        samples=" → ".join(stage.samples for stage in recipe.stages),
        stages=str([stage.model_dump(exclude={"loss", "samples"}) for stage in recipe.stages]),
        split=data.split.name,
        rest=str(kept),
    )


def split_names(runs: Mapping[str, EvaluatedRun]) -> dict[str, str]:
    """The name of each split by its checksum; with the beginning of that where two, of other seeds, have one name."""
    splits = {run.split.checksum: run.split.name for run in runs.values()}
    number = Counter(splits.values())
    return {key: name if number[name] == 1 else f"{name} {key[:8]}" for key, name in splits.items()}


def _describe(loss: BCESettings | FocalSettings) -> str:
    unusual = [f"{key} {value}" for key, value in loss.model_dump(exclude={"kind"}).items() if value != _USUAL[key]]
    return f"{loss.kind} ({', '.join(unusual)})" if unusual else loss.kind
