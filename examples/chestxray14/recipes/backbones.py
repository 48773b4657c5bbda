"""Backbones by library and name: `timm:NAME[.TAG]`, `torchvision:NAME`, `own:MODULE:FUNCTION`, and four short names."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal, NamedTuple, get_args

from awb import AWBError
from awb.errors import did_you_mean, shortlist

Library = Literal["timm", "torchvision", "own"]
SHORT_NAMES = {
    "densenet121": "torchvision:densenet121",
    "vgg16_bn": "torchvision:vgg16_bn",
    "efficientnet_lite0": "own:examples.efficientnet_lite0:efficientnet_lite0",
    "tiny": "own:examples.chestxray14.training.tiny:tiny",
}
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")  # package.module:function


class Backbone(NamedTuple):
    """A backbone's library, its name there, and the tag of its weights; None: the library's own choice."""

    library: Library
    name: str
    weights: str | None = None


def read_backbone(text: str, weights: str | None = None) -> Backbone:
    """Library, name and weights of a backbone.

    Args:
        text: `LIBRARY:NAME`, or one of `SHORT_NAMES`.
        weights: Tag of the weights; timm's may also follow the name, after a dot.

    Raises:
        AWBError: Another form, the library has no such name or no such weights, or two tags are given.
    """
    library, colon, name = SHORT_NAMES.get(text, text).partition(":")
    if library not in get_args(Library) or not name:
        near = did_you_mean(text, SHORT_NAMES) if not colon else did_you_mean(library, get_args(Library))
        raise AWBError(
            f"backbone {text!r}{near}; expected timm:NAME, torchvision:NAME, own:MODULE:FUNCTION, or one of "
            f"{', '.join(SHORT_NAMES)}"
        )
    if library == "timm":
        name, _, tag = name.partition(".")
        if tag and weights not in (None, tag):
            raise AWBError(f"backbone {text!r} names the weights {tag}, and weights names {weights}; give one of them")
        weights = weights or tag or None
    backbone = Backbone(library, name, weights)  # type: ignore[arg-type]
    _require_known(backbone)
    return backbone


@cache
def weights_of(backbone: Backbone) -> tuple[str, ...]:
    """Tags of all pretrained weights that the library has of a backbone; empty for functions of your own."""
    if backbone.library == "timm":
        import timm  # slow to import

        return tuple(name.partition(".")[2] for name in timm.list_pretrained(f"{backbone.name}.*"))
    if backbone.library == "torchvision":
        from torchvision.models import get_model_weights

        return tuple(get_model_weights(backbone.name).__members__)
    return ()


def _require_known(backbone: Backbone) -> None:
    library, name, weights = backbone
    if library == "own":
        if _FUNCTION.fullmatch(name) is None:
            raise AWBError(f"backbone own:{name}: expected own:MODULE:FUNCTION, such as own:my_package.networks:build")
        return
    known = _names(library)
    if name not in known:
        raise AWBError(f"{library} has no model {name!r}{did_you_mean(name, sorted(known))}")
    if weights is not None and weights not in (tags := weights_of(Backbone(library, name))):
        there = shortlist(tags) or "none"
        raise AWBError(
            f"{library} has no weights {weights!r} of {name}{did_you_mean(weights, tags)}; there are {there}"
        )


@cache
def _names(library: Library) -> frozenset[str]:
    """Names of a library's networks that classify images."""
    if library == "timm":
        import timm  # slow to import

        return frozenset(timm.list_models())
    from torchvision import models

    return frozenset(models.list_models(module=models))  # not its detectors
