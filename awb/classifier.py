"""Where a backbone keeps its classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import nn

from awb.errors import AWBError, did_you_mean, require_module, shortlist

# torchvision's and Hugging Face's names; every timm model answers get_classifier() instead
_NAMES = ("fc", "classifier", "heads", "head")
# the second classifiers of Inception-v3, GoogLeNet and torchvision's segmentation networks
AUXILIARY = ("AuxLogits", "aux1", "aux2", "aux_classifier")
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
    """What is trained besides the blocks: the modules named, or if none is, the classifier and auxiliary ones.

    Raises:
        AWBError: No module has one of the paths; or nothing is named, and no classifier is known or one of several
            heads only.
    """
    if head is None:
        return _default_head(model)
    modules = {name: module for name, module in model.named_modules() if name}
    paths = [head] if isinstance(head, str) else list(head)
    for path in paths:
        if path not in modules:
            near = did_you_mean(str(path), modules)
            raise AWBError(f"head: no module {path!r}{near}; it has {shortlist(_trainable_children(model))}")
    return {path: modules[path] for path in paths}


def _default_head(model: nn.Module) -> dict[str, nn.Module]:
    named = find_classifier(model)
    modules = dict(model.named_modules())
    beside = [_join(parent, name) for parent in {path.rpartition(".")[0] for path in named} for name in AUXILIARY]
    found = named | {path: modules[path] for path in beside if path in modules}
    advice = (
        "name what is trained besides the blocks, as in head=['path.of.module'], or head=[] for nothing; it has "
        f"{shortlist(_trainable_children(model))}"
    )
    if not found:
        raise AWBError(
            f"no classifier is known in {type(model).__name__}, so its head would be taken for backbone: {advice}"
        )
    later = [path for name in named for path in _registered_after(model, name) if path not in found]
    if later:
        raise AWBError(
            f"{', '.join(found)} may not be the whole head of {type(model).__name__}, since {', '.join(later)} comes "
            f"after it: {advice}"
        )
    return found


def _registered_after(model: nn.Module, path: str) -> list[str]:
    """What else has parameters beside a classifier that is known by its name only, and comes after it."""
    parent, _, name = path.rpartition(".")
    owner = model.get_submodule(parent)
    children = _trainable_children(owner)
    if hasattr(owner, "get_classifier") or name not in _NAMES or name not in children:
        return []
    return [_join(parent, child) for child in children[children.index(name) + 1 :]]


def _join(parent: str, name: str) -> str:
    return f"{parent}.{name}" if parent else name


def _trainable_children(model: nn.Module) -> list[str]:
    return [name for name, child in model.named_children() if next(child.parameters(), None) is not None]


def _is_whole_model(module: nn.Module) -> bool:
    return hasattr(module, "get_classifier") or type(module).__module__.startswith("torchvision.models.")
