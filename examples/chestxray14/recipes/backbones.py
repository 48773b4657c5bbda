"""Backbones by library and name: `timm:NAME[.TAG]`, `torchvision:NAME`, `own:MODULE:FUNCTION`, and four short names."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from awb import AWBError
from awb.errors import did_you_mean

Library = Literal["timm", "torchvision", "own"]
SHORT_NAMES = {
    "densenet121": "torchvision:densenet121",
    "vgg16_bn": "torchvision:vgg16_bn",
    "efficientnet_lite0": "own:examples.efficientnet_lite0:efficientnet_lite0",
    "tiny": "own:examples.chestxray14.training.tiny:Tiny",
}


class Backbone(NamedTuple):
    """A backbone's library, and its name there."""

    library: Library
    name: str


def read_backbone(text: str) -> Backbone:
    """Library and name of a backbone.

    Args:
        text: `LIBRARY:NAME`, or one of `SHORT_NAMES`.

    Raises:
        AWBError: Another form, or the library has no such name.
    """
    library, colon, name = SHORT_NAMES.get(text, text).partition(":")
    if library not in get_args(Library) or not name:
        near = did_you_mean(text, SHORT_NAMES) if not colon else did_you_mean(library, get_args(Library))
        raise AWBError(
            f"backbone {text!r}{near}; expected timm:NAME, torchvision:NAME, own:MODULE:FUNCTION, or one of "
            f"{', '.join(SHORT_NAMES)}"
        )
    backbone = Backbone(library, name)  # type: ignore[arg-type]
    _require_known(backbone)
    return backbone


def _require_known(backbone: Backbone) -> None:
    if backbone.library == "timm":
        import timm  # slow to import

        model, _, _ = backbone.name.partition(".")
        if not timm.is_model(model):
            raise AWBError(f"timm has no model {model!r}{did_you_mean(model, timm.list_models())}")
    elif backbone.library == "torchvision":
        from torchvision.models import list_models

        if backbone.name not in list_models():
            raise AWBError(f"torchvision has no model {backbone.name!r}{did_you_mean(backbone.name, list_models())}")
    elif backbone.name.count(":") != 1:
        raise AWBError(f"backbone own:{backbone.name}: expected own:MODULE:FUNCTION")
