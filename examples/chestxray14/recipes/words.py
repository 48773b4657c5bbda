"""Settings of recipes in words, for tables and sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence

from examples.chestxray14.recipes.blocks import kinds_in_words
from examples.chestxray14.recipes.model_settings import ModelSettings, Selector
from examples.chestxray14.recipes.stage_settings import StageSettings

NONE = "none"  # no blocks
_USUAL = {"gamma": 2.0, "alpha": None, "variant": "two_sided", "label_smoothing": 0.0}  # settings of the study's losses
_NUMBERS = {"1": "stage", "2": "two stages", "3": "three stages"}


def attention_in_words(model: ModelSettings) -> str:
    """Kinds of a network's blocks with their options, such as `cbam (reduction 8)` or `cbam at 3, se at 4`."""
    if model.attention is None:
        return NONE
    attention = model.named_attention
    if not isinstance(attention, str):
        return kinds_in_words(attention)
    options = ", ".join(f"{key} {value}" for key, value in model.options.items())
    return f"{attention} ({options})" if options else attention


def placement_in_words(model: ModelSettings) -> str:
    """Placement of a network's blocks; `none` without blocks, `by place` where kinds are given by place."""
    if model.attention is None:
        return NONE
    if model.placement is None:
        return "by place"
    places = _selectors(model.placement)
    return places if model.body is None else f"{places} of {model.body}"


def blocks_in_words(model: ModelSettings) -> str:
    """A network's blocks in a cell of a table: kind, placement, initialisation."""
    if model.attention is None:
        return NONE
    places = [] if model.placement is None else [placement_in_words(model)]
    return ", ".join([attention_in_words(model), *places, str(model.init)])


def where_in_words(placement: str) -> str:
    """A placement in a sentence, such as `after the last two stages`."""
    known = {"after": "after the backbone", "all": "after all stages", "last": "after the last stage", "by place": ""}
    if last := re.fullmatch(r"last:(\d+)", placement):
        return f"after the last {_NUMBERS.get(last[1], f'{last[1]} stages')}"
    if placement.startswith("branches"):
        _, _, stages = placement.partition(":")
        return "in the residual branches" + (f" of stages {stages}" if stages else "")
    return known.get(placement, f"at {placement}")


def losses_in_words(stages: Sequence[StageSettings]) -> str:
    """Losses of the stages, such as `bce → focal`; settings other than the study's are named."""
    return " → ".join(map(_loss, stages))


def _loss(stage: StageSettings) -> str:
    settings = stage.loss.model_dump(exclude={"kind"})
    unusual = [f"{key} {value}" for key, value in settings.items() if value != _USUAL.get(key)]
    return f"{stage.loss.kind} ({', '.join(unusual)})" if unusual else stage.loss.kind


def _selectors(placement: Selector | tuple[Selector, ...]) -> str:
    return ", ".join(map(str, placement)) if isinstance(placement, tuple) else str(placement)
