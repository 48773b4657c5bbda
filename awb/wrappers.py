"""Modules that stand for another: activation checkpointing, torch.compile, DataParallel, FSDP, PEFT."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

# what wrappers call the module inside
_INSIDE = ("_checkpoint_wrapped_module", "_orig_mod", "_fsdp_wrapped_module")
_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrapped(module: nn.Module) -> nn.Module | None:
    """The module that a wrapper stands for; None if this is no wrapper."""
    if isinstance(module, _PARALLEL):
        return module.get_submodule("module")
    copies = module._modules.get("modules_to_save")
    if isinstance(copies, nn.ModuleDict):  # PEFT's ModulesToSaveWrapper: a copy that is trained, and the original
        names = [name for name in getattr(module, "active_adapters", ()) if name in copies]
        return copies[names[0]] if names else module._modules.get("original_module")
    if hasattr(type(module), "adapter_layer_names"):  # PEFT's layers (LoRA); timm's DLA has a base_layer too
        return module._modules.get("base_layer")
    return next((module._modules[name] for name in _INSIDE if name in module._modules), None)


def follow(module: nn.Module, path: str) -> nn.Module | None:
    """The module at a path, through wrappers that came in between after the path was written; None if there is none."""
    for name in path.split(".") if path else ():
        inside: nn.Module | None = module
        while inside is not None and inside._modules.get(name) is None:
            inside = unwrapped(inside)
        if inside is None:
            return None
        module = inside._modules[name]  # type: ignore[assignment]
    return module


def innermost(module: nn.Module) -> nn.Module:
    """The module under all its wrappers."""
    inside = unwrapped(module)
    return module if inside is None else innermost(inside)


def named_active_modules(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """`named_modules()`, without the originals that PEFT keeps beside the copies that it trains."""
    left_out: set[int] = set()
    for path, m in module.named_modules():
        if id(m) in left_out:
            continue
        yield path, m
        if isinstance(m._modules.get("modules_to_save"), nn.ModuleDict):
            kept = unwrapped(m)
            inside = {id(x) for x in kept.modules()} if kept is not None else set()
            left_out |= {id(x) for x in m.modules()} - inside - {id(m)}


def is_offloaded(model: nn.Module) -> bool:
    """Whether accelerate keeps weights of a model elsewhere between forward passes."""
    return any(hasattr(m, "_hf_hook") and any(p.is_meta for p in m.parameters(recurse=False)) for m in model.modules())
