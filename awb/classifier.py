"""Find the classifier of a backbone, and the head that is trained besides the blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from torch import nn

from awb.block import AWB
from awb.errors import AWBError, did_you_mean, require_module, shortlist
from awb.known_backbones import CLASSIFIERS, additions, is_known_backbone
from awb.private_apis import COMPILED

# the second classifiers of Inception-v3, GoogLeNet and torchvision's segmentation networks
AUXILIARY = ("AuxLogits", "aux1", "aux2", "aux_classifier")
_WRAPPED = ("module", COMPILED, "base_model")  # what DDP, torch.compile and PEFT call the model inside
_ORIGINALS = ("base_model", "model", "base_layer", "original_module")  # what PEFT calls what was there before
_COPIES = "modules_to_save"  # the copies of a whole module that PEFT trains


def find_classifier(model: nn.Module) -> dict[str, nn.Module]:
    """Find the modules that turn pooled features into logits, by their path in `model`.

    timm's models are asked (`get_classifier()`; two modules for distilled networks); elsewhere the child named
    `fc`, `classifier`, `heads` or `head`. The classifier of a wrapper (DDP, `torch.compile`, one's own around one
    backbone and nothing else with parameters) is that of the model inside. Empty if there is none.
    """
    require_module(model)
    if hasattr(model, "get_classifier"):
        found = cast(Any, model).get_classifier()
        wanted = {id(m) for m in (found if isinstance(found, list | tuple) else (found,)) if m is not None}
        return {name: m for name, m in model.named_modules() if id(m) in wanted}
    children = dict(model.named_children())
    for name in CLASSIFIERS:
        if name in children:
            return {name: children[name]}
    wrapped = [name for name, module in children.items() if name in _WRAPPED or is_known_backbone(module)]
    if len(wrapped) != 1 or any(name not in wrapped for name in _trainable_children(model)):
        return {}  # what else has parameters may be the real head
    return {f"{wrapped[0]}.{name}": head for name, head in find_classifier(children[wrapped[0]]).items()}


def find_head(model: nn.Module, head: str | Sequence[str] | None) -> dict[str, nn.Module]:
    """Find the modules that are trained besides the blocks: those named, or else the classifier and auxiliary ones.

    Raises:
        AWBError: No module has a path, or one has no parameters; or nothing is named, and no classifier is known, or
            only one of several heads.
    """
    if head is None:
        return _default_head(model)
    modules = {name: module for name, module in model.named_modules() if name}
    if not isinstance(head, Iterable):
        raise AWBError(f"head={head!r}: expected module paths, such as ['decoder'], or [] for nothing")
    paths = [head] if isinstance(head, str) else list(head)
    for path in paths:
        if path not in modules:
            near = did_you_mean(str(path), modules)
            raise AWBError(f"head: no module {path!r}{near}; it has {shortlist(_trainable_children(model))}")
        if next(modules[path].parameters(), None) is None:
            raise AWBError(f"head: {path} has no parameters; those that do are {shortlist(_trainable_children(model))}")
    return {path: modules[path] for path in paths}


def _default_head(model: nn.Module) -> dict[str, nn.Module]:
    modules = dict(model.named_modules())
    named = {path: module for path, module in find_classifier(model).items() if _has_parameters(module)}
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
    adapters = _adapters(model)
    accounted = (*found.values(), *adapters.values(), *(m for m in modules.values() if isinstance(m, AWB)))
    more = additions(model, {id(p) for module in accounted for p in module.parameters()})
    if more:
        raise AWBError(
            f"{', '.join(found)} may not be the whole head of {type(model).__name__}, since {shortlist(more)} "
            f"may be new too, and would be taken for backbone: {advice}"
        )
    copies = {f"{path}.{_COPIES}": getattr(m, _COPIES) for path, m in found.items() if hasattr(m, _COPIES)}
    return {path: m for path, m in found.items() if f"{path}.{_COPIES}" not in copies} | copies | adapters


def _adapters(model: nn.Module) -> dict[str, nn.Module]:
    """Modules that PEFT has added and trains: LoRA's matrices, copies of whole modules, prompts."""
    layers = [(path, m) for path, m in model.named_modules() if type(m).__module__.startswith("peft.")]
    return {
        _join(path, name): child
        for path, layer in layers
        for name, child in layer.named_children()
        if name not in _ORIGINALS and _has_parameters(child)
    }


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _join(parent: str, name: str) -> str:
    return f"{parent}.{name}" if parent else name


def _trainable_children(model: nn.Module) -> list[str]:
    return [name for name, child in model.named_children() if _has_parameters(child)]
