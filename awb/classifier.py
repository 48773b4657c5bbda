"""Where a backbone keeps its classifier."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

# torchvision's and Hugging Face's names; every timm model answers get_classifier() instead
_NAMES = ("fc", "classifier", "heads", "head")


def find_classifier(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that turn pooled features into logits, by their path in `model`.

    timm's models are asked (`get_classifier()`; two modules for distilled networks); elsewhere the
    child named `fc`, `classifier`, `heads` or `head`. Empty if the model has none of these.
    """
    if hasattr(model, "get_classifier"):
        found = cast(Any, model).get_classifier()
        wanted = {id(m) for m in (found if isinstance(found, list | tuple) else (found,)) if m is not None}
        return {name: m for name, m in model.named_modules() if id(m) in wanted}
    children = dict(model.named_children())
    for name in _NAMES:
        if name in children:
            return {name: children[name]}
    return {}
