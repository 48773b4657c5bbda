"""Known backbones: recognise them, and find what was added to one."""

from __future__ import annotations

import dis
from inspect import isfunction

from torch import nn

from awb.private_apis import children, own_parameters

# torchvision's and Hugging Face's names; every timm model answers get_classifier() instead
CLASSIFIERS = ("fc", "classifier", "heads", "head")
# layers of these are not additions; PEFT's additions are found by their own names
_LIBRARIES = ("torch", "torchvision", "timm", "transformers", "transformers_modules", "peft", "awb")
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


def is_known_backbone(module: nn.Module) -> bool:
    """True if a module is a whole network of torchvision, timm or Hugging Face, or of a subclass of one."""
    names = [f"{cls.__module__}.{cls.__name__}" for cls in type(module).__mro__]
    if any(name.startswith("timm.models.") for name in names):
        return hasattr(module, "get_classifier") or hasattr(module, "feature_info")
    if any(name.startswith("torchvision.models.") for name in names):
        return any(name in children(module) for name in CLASSIFIERS)
    if "transformers.modeling_utils.PreTrainedModel" in names:  # with a head of another kind there may be a neck
        return module.base_model is module or any(name.endswith("ForImageClassification") for name in names)
    return False


def additions(model: nn.Module, known: set[int], prefix: str = "") -> list[str]:
    """Paths of modules and parameters that are neither accounted for nor part of one known backbone.

    Args:
        model: A model, or a module inside one.
        known: Ids of the parameters that are accounted for: the head's and the blocks'.
        prefix: The beginning of the paths.
    """
    if is_known_backbone(model):
        return [f"{prefix}{name}" for name in _added(model, known)]
    inside = _wrapped(model)
    if inside is not None:
        name, module = inside
        return additions(module, known, f"{prefix}{name}.")
    inner = {name: child for name, child in model.named_children() if _has_more(child, known)}
    own = [name for name, parameter in model.named_parameters(recurse=False) if id(parameter) not in known]
    backbones = [name for name, child in inner.items() if _contains_known_backbone(child)]
    if len(backbones) != 1:
        return [f"{prefix}{name}" for name in (*own, *inner)]
    beside = [f"{prefix}{name}" for name in (*own, *inner) if name not in backbones]
    return beside + additions(inner[backbones[0]], known, f"{prefix}{backbones[0]}.")


def _added(model: nn.Module, known: set[int]) -> list[str]:
    """Paths of the modules and parameters that a known backbone did not have when its library made it."""
    names = [name for name, child in model.named_children() if next(child.parameters(), None) is not None]
    heads = [name for name in names if not (name.startswith("awb") or _has_more(model.get_submodule(name), known))]
    # libraries register the classifier last; what is assigned to a model later comes after it
    later = names[names.index(heads[-1]) :] if heads else []
    assigned = _assigned_names(model)
    suspects = [name for name, parameter in model.named_parameters(recurse=False) if name in assigned]
    suspects += [name for name in names if name in assigned or name in later]
    suspects += [path for path, module in model.named_modules() if path and not _is_library_class(type(module))]
    found: list[str] = []
    for path in suspects:
        parameters = dict(model.named_parameters()).items()
        more = [name for name, p in parameters if f"{name}.".startswith(f"{path}.") and id(p) not in known]
        if more and not any(f"{path}.".startswith(f"{other}.") for other in found):
            found.append(path)
    return found


def _assigned_names(model: nn.Module) -> set[str]:
    """Attributes that the user's own classes assign, in a subclass of a library's network."""
    own = (cls for cls in type(model).__mro__ if cls.__module__.partition(".")[0] not in _LIBRARIES)
    functions = [member for cls in own for member in vars(cls).values() if isfunction(member)]
    return {i.argval for function in functions for i in dis.get_instructions(function) if i.opname == "STORE_ATTR"}


def _is_library_class(cls: type) -> bool:
    """True if a class is a library's, or a variant of one of its layers."""
    bases = (base for base in cls.__mro__ if base not in (nn.Module, *_CONTAINERS))
    return cls in _CONTAINERS or any(base.__module__.partition(".")[0] in _LIBRARIES for base in bases)


def _wrapped(module: nn.Module) -> tuple[str, nn.Module] | None:
    """Only child that has all the parameters, with its name; None if there is no such child."""
    inside = [(name, child) for name, child in module.named_children() if next(child.parameters(), None) is not None]
    return inside[0] if len(inside) == 1 and not own_parameters(module) else None


def path_inside_wrappers(model: nn.Module) -> str:
    """Path, ending in a dot, of the network inside modules that have one child and no parameters of their own."""
    inside = None if is_known_backbone(model) else _wrapped(model)
    return f"{inside[0]}.{path_inside_wrappers(inside[1])}" if inside else ""


def _contains_known_backbone(module: nn.Module) -> bool:
    inside = None if is_known_backbone(module) else _wrapped(module)
    return is_known_backbone(module) if inside is None else _contains_known_backbone(inside[1])


def _has_more(module: nn.Module, known: set[int]) -> bool:
    return any(id(parameter) not in known for parameter in module.parameters())
