"""Wrappers, modules that stand for another: activation checkpointing, torch.compile, DataParallel, FSDP, PEFT."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from awb.private_apis import CHECKPOINTED, COMPILED, SHARDED, children, has_accelerate_hook

_INSIDE = (CHECKPOINTED, COMPILED, SHARDED)  # what wrappers call the module inside
_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrapped(module: nn.Module) -> nn.Module | None:
    """The module that a wrapper stands for; None if this is not a wrapper."""
    if isinstance(module, _PARALLEL):
        return module.get_submodule("module")
    inside = children(module)
    copies = inside.get("modules_to_save")
    if isinstance(copies, nn.ModuleDict):  # PEFT's ModulesToSaveWrapper: a copy that is trained, and the original
        names = [name for name in getattr(module, "active_adapters", ()) if name in copies]
        return copies[names[0]] if names else inside.get("original_module")
    if hasattr(type(module), "adapter_layer_names"):  # PEFT's layers (LoRA); timm's DLA has a base_layer too
        return inside.get("base_layer")
    return next((inside[name] for name in _INSIDE if name in inside), None)


def follow(module: nn.Module, path: str) -> nn.Module | None:
    """Module at a path, also through wrappers that were added since; None if there is none."""
    for name in path.split(".") if path else ():
        inside: nn.Module | None = module
        while inside is not None and children(inside).get(name) is None:
            inside = unwrapped(inside)
        child = None if inside is None else children(inside)[name]
        if child is None:
            return None
        module = child
    return module


def innermost(module: nn.Module) -> nn.Module:
    """The module under all its wrappers."""
    inside = unwrapped(module)
    return module if inside is None else innermost(inside)


def named_active_modules(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """`named_modules()` without the originals that PEFT keeps beside the copies that it trains."""
    left_out: set[int] = set()
    for path, m in module.named_modules():
        if id(m) in left_out:
            continue
        yield path, m
        if isinstance(children(m).get("modules_to_save"), nn.ModuleDict):
            kept = unwrapped(m)
            inside = {id(x) for x in kept.modules()} if kept is not None else set()
            left_out |= {id(x) for x in m.modules()} - inside - {id(m)}


def is_offloaded(model: nn.Module) -> bool:
    """True if accelerate stores weights of a model elsewhere between forward passes."""
    return any(has_accelerate_hook(m) and any(p.is_meta for p in m.parameters(recurse=False)) for m in model.modules())
