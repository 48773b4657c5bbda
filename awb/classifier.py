"""Where a backbone keeps its classifier."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from awb.errors import require_module

# torchvision's and Hugging Face's names; every timm model answers get_classifier() instead
_NAMES = ("fc", "classifier", "heads", "head")
_WRAPPED = ("module", "_orig_mod")  # what DDP and torch.compile call the model inside


def find_classifier(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that turn pooled features into logits, by their path in `model`.

    timm's models are asked (`get_classifier()`; two modules for distilled networks); elsewhere the child named
    `fc`, `classifier`, `heads` or `head`. A wrapper (DDP, `torch.compile`, one's own around one backbone) has
    that of the model inside. Empty if there is none.
    """
    require_module(model)
    if hasattr(model, "get_classifier"):
        found = cast(Any, model).get_classifier()
        wanted = {id(m) for m in (found if isinstance(found, list | tuple) else (found,)) if m is not None}
        return {name: m for name, m in model.named_modules() if id(m) in wanted}
    children = dict(model.named_children())
    for name in _NAMES:
        if name in children:
            return {name: children[name]}
    wrapped = [name for name, module in children.items() if name in _WRAPPED or _is_whole_model(module)]
    if len(wrapped) != 1:
        return {}
    return {f"{wrapped[0]}.{name}": head for name, head in find_classifier(children[wrapped[0]]).items()}


def _is_whole_model(module: nn.Module) -> bool:
    return hasattr(module, "get_classifier") or type(module).__module__.startswith("torchvision.models.")
