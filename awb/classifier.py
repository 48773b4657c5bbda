"""Where a backbone keeps its classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import nn

from awb.errors import AWBError, did_you_mean, require_module, shortlist

# torchvision's and Hugging Face's names; every timm model answers get_classifier() instead
_NAMES = ("fc", "classifier", "heads", "head")
_WRAPPED = ("module", "_orig_mod")  # what DDP and torch.compile call the model inside


def find_classifier(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that turn pooled features into logits, by their path in `model`.

    timm's models are asked (`get_classifier()`; two modules for distilled networks); elsewhere the child named
    `fc`, `classifier`, `heads` or `head`. A wrapper (DDP, `torch.compile`, one's own around one backbone and
    nothing else with parameters) has that of the model inside. Empty if there is none.
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
    if len(wrapped) != 1 or any(name not in wrapped for name in _trainable_children(model)):
        return {}  # what else has parameters may be the real head
    return {f"{wrapped[0]}.{name}": head for name, head in find_classifier(children[wrapped[0]]).items()}


def find_head(model: nn.Module, head: str | Sequence[str] | None) -> dict[str, nn.Module]:
    """What is trained besides the blocks: the modules named, or the classifier if none is.

    Raises:
        AWBError: No module has one of the paths; or nothing is named and no classifier is known.
    """
    if head is None:
        found = find_classifier(model)
        if not found:
            parts = shortlist(_trainable_children(model))
            raise AWBError(
                f"no classifier is known in {type(model).__name__}, so its head would be taken for backbone: name what "
                f"is trained besides the blocks, as in head=['path.of.module'], or head=[] for nothing; it has {parts}"
            )
        return found
    modules = {name: module for name, module in model.named_modules() if name}
    paths = [head] if isinstance(head, str) else list(head)
    for path in paths:
        if path not in modules:
            near = did_you_mean(str(path), modules)
            raise AWBError(f"head: no module {path!r}{near}; it has {shortlist(_trainable_children(model))}")
    return {path: modules[path] for path in paths}


def _trainable_children(model: nn.Module) -> list[str]:
    return [name for name, child in model.named_children() if next(child.parameters(), None) is not None]


def _is_whole_model(module: nn.Module) -> bool:
    return hasattr(module, "get_classifier") or type(module).__module__.startswith("torchvision.models.")
