"""Preprocessing that a backbone's weights were trained with; recipes take from it what they leave out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from awb import AWBError
from examples.chestxray14.recipes.backbones import read_backbone

Triple = tuple[float, float, float]
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


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
    """Preprocessing of a backbone's pretrained weights; None for functions of your own and the four short names.

    Args:
        backbone: The recipe's name of it.
        weights: Tag of the weights.

    Raises:
        AWBError: There is no such backbone, or no such weights.
    """
    library, name = read_backbone(backbone)
    if library == "timm":
        import timm

        config = timm.get_pretrained_cfg(name if weights is None else f"{name.partition('.')[0]}.{weights}")
        if config is None:
            raise AWBError(f"timm has no weights {weights or name!r}")
        return Preprocessing(config.input_size[-1], config.mean, config.std, config.interpolation)
    if library == "torchvision":
        import torchvision

        tags = torchvision.models.get_model_weights(name)
        preset = tags[weights or "DEFAULT"].transforms()
        return Preprocessing(preset.crop_size[0], tuple(preset.mean), tuple(preset.std), preset.interpolation.value)
    return None
