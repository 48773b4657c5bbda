"""What tells one cell from another, in words."""

from __future__ import annotations

from dataclasses import dataclass

from examples.chestxray14.recipe import Recipe
from examples.chestxray14.reproduce.published import MEAN_AUROC

PLAIN = "none"


@dataclass(frozen=True)
class Factors:
    """The factors of the study.

    Attributes:
        network: The backbone.
        placement: Of the blocks, `none` if there are none.
        attention: Their kind, `none` as well.
        init: How they begin, `none` as well.
        losses: Of the stages, such as `bce → focal`.
        stages: All else of the stages: epochs, samples, optimisers.
        split: Its name.
        rest: All else of the recipe, names left out, so that two cells that agree in all of these are one.
    """

    network: str
    placement: str
    attention: str
    init: str
    losses: str
    stages: str
    split: str
    rest: str


def factors_of(recipe: Recipe) -> Factors:
    """A recipe's factors. Image size, augmentation, seed and the like are in `rest`."""
    model, data = recipe.model, recipe.data
    kept = {
        "model": model.model_dump(include={"pretrained", "dropout"}),
        "data": data.model_dump(exclude={"split": {"name", "allow_overlap"}}),
        "training": recipe.training.model_dump(exclude={"lr_finder"}),
    }
    return Factors(
        network=model.backbone + ("" if model.final_relu else ", no final ReLU"),
        placement=PLAIN if model.attention is None else model.placement,
        attention=model.attention or PLAIN,
        init=model.init or PLAIN,
        losses=" → ".join(stage.loss.kind for stage in recipe.stages),
        stages=str([stage.model_dump(exclude={"loss", "name"}) for stage in recipe.stages]),
        split=data.split.name,
        rest=str(kept),
    )


def published_auroc(factors: Factors) -> float | None:
    """The report's mean AUROC of a cell, whatever our split; None where it is not known."""
    return MEAN_AUROC.get((factors.network, factors.placement, factors.attention, factors.losses))
