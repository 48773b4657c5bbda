"""Preprocessing that a backbone's weights were trained with; recipes take from it what they leave out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from awb import AWBError
from examples.chestxray14.recipes.backbones import SHORT_NAMES, read_backbone

if TYPE_CHECKING:
    from examples.chestxray14.recipes.schema import Recipe

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of a backbone.

    Attributes:
        image_size: Side of the input in pixels.
        mean, std: Mean and standard deviation of each channel, for intensities 0 to 1.
        interpolation: Interpolation by which images are resized.
    """

    image_size: int
    mean: Triple
    std: Triple
    interpolation: str


def with_own_preprocessing(content: dict[str, Any], where: str) -> dict[str, Any]:
    """Recipe's content with the backbone's own value where `data` lacks one of `Preprocessing`, or has null.

    Raises:
        AWBError: The backbone is not known, or its own preprocessing is wanted and not known.
    """
    model, data = content.get("model"), content.get("data")
    if not (isinstance(model, dict) and isinstance(data, dict) and isinstance(model.get("backbone"), str)):
        return content  # validation says what is wrong
    if not isinstance(model.get("weights"), str | None):
        return content
    left_out = [name for name in Preprocessing.__dataclass_fields__ if data.get(name) is None]
    if not left_out:
        return content
    own = own_preprocessing(model["backbone"], model.get("weights"))
    if own is None:
        left_out = [name for name in left_out if name != "interpolation"]  # bilinear
        if not left_out:
            return content
        raise AWBError(
            f"{where}: {model['backbone']} does not say its own {', '.join(left_out)}; give data.{left_out[0]}"
        )
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(own).items()}
    return {**content, "data": {**data, **{name: values[name] for name in left_out}}}


def own_preprocessing(backbone: str, weights: str | None = None) -> Preprocessing | None:
    """Preprocessing of a backbone's pretrained weights; None for functions of your own and `tiny`.

    Args:
        backbone: The recipe's name of it.
        weights: Tag of the weights.

    Raises:
        AWBError: There is no such backbone, or no such weights.
    """
    if SHORT_NAMES.get(backbone, backbone) == SHORT_NAMES["efficientnet_lite0"]:
        # recipes without an interpolation have always meant bilinear
        return replace(_of_timm("tf_efficientnet_lite0", None), interpolation="bilinear")
    library, name, tag = read_backbone(backbone, weights)
    if library == "timm":
        return _of_timm(name, tag)
    return _of_torchvision(name, tag) if library == "torchvision" else None


def overridden_preprocessing(recipe: Recipe) -> str:
    """Sentence on what a recipe overrides of its pretrained weights' own preprocessing; empty if nothing."""
    model, data = recipe.model, recipe.data
    own = own_preprocessing(model.backbone, model.weights) if model.pretrained else None
    if own is None:
        return ""
    changed = [
        f"{name} {_in_words(getattr(data, name))} (theirs: {_in_words(value)})"
        for name, value in asdict(own).items()
        if getattr(data, name) != value
    ]
    weights = f"the pretrained weights of {model.backbone}"
    return f"the recipe overrides what {weights} were trained with: {', '.join(changed)}" if changed else ""


def _of_timm(name: str, tag: str | None) -> Preprocessing:
    import timm  # slow to import

    config = timm.get_pretrained_cfg(name if tag is None else f"{name}.{tag}")
    assert config is not None
    return Preprocessing(config.input_size[-1], config.mean, config.std, config.interpolation)


def _of_torchvision(name: str, tag: str | None) -> Preprocessing | None:
    from torchvision.models import get_model_weights

    tags = get_model_weights(name).__members__
    if not tags:
        return None
    preset = tags[tag or "DEFAULT"].transforms()
    return Preprocessing(preset.crop_size[0], tuple(preset.mean), tuple(preset.std), preset.interpolation.value)


def _in_words(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
