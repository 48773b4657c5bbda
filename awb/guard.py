"""Notice blocks that no longer run, at every way into a model.

What runs a block stays with the module that it follows. When that module is replaced (`SyncBatchNorm` conversion), the
block may be moved to the new one and never run, or be gone with the old one.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor, nn

from awb.block import AWB
from awb.errors import AWBError, LostBlockError
from awb.hosts import Hook, RunBlock, hook_of, steps_in
from awb.planned import PlannedBlock
from awb.wrappers import follow, innermost, unwrapped


class Guard(Hook):
    """Forward pre-hook on a module around blocks: refuse to run if one has been lost, or has another image's grid."""

    def __init__(self) -> None:
        self.sites: dict[str, str] = {}  # by block name: the path of its site, relative to the guarded module
        self.aspects: dict[str, tuple[int, int]] = {}  # for blocks with a fixed grid: the image that it belongs to

    def __call__(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        for name, path in self.sites.items():
            if not _runs_at(module, path, name):
                self.check(module)
                break
        for name, size in self.aspects.items():
            _check_aspect(name, size, (args, kwargs))

    def lost(self, root: nn.Module) -> list[str]:
        """Names of the blocks that no longer run anywhere below `root`."""
        lost = [name for name, path in self.sites.items() if not _runs_at(root, path, name)]
        running = {step.name for step in running_steps(root)} if lost else set()
        return [name for name in lost if name not in running]

    def check(self, root: nn.Module) -> None:
        """Raise `LostBlockError` if a block no longer runs, naming it and what to do."""
        lost = self.lost(root)
        if not lost:
            return
        held = {m.planned.path for m in root.modules() if isinstance(m, AWB)}
        gone = [name for name in lost if name not in held]
        remedy = (
            f"{', '.join(gone)} went with it: put that module back, attach a block there anew, or go on without by "
            "awb.rehook_awb(model, forget=True); the other blocks keep what they have learned"
            if gone
            else "call awb.rehook_awb(model)"
        )
        raise LostBlockError(
            f"block {', '.join(lost)} no longer runs: a module was replaced after attaching (SyncBatchNorm conversion "
            f"and freeze_batch_norm_2d do that). Convert before attaching; now, {remedy}"
        )


class FirstLayerGuard(Hook):
    """Forward pre-hook on a model's first layer: `forward_features` passes by the hooks of the model itself.

    Args:
        root: The model; None where the layer was copied out of it.
    """

    def __init__(self, root: nn.Module | None) -> None:
        self._root = None if root is None else weakref.ref(root)

    def __call__(self, module: nn.Module, args: Any) -> None:
        root = None if self._root is None or torch.compiler.is_compiling() else self._root()
        guard = None if root is None else guard_of(root)
        if root is not None and guard is not None:
            guard.check(root)

    def __deepcopy__(self, memo: dict[int, Any]) -> FirstLayerGuard:
        return FirstLayerGuard(memo.get(id(self._root())) if self._root is not None else None)

    def __reduce__(self) -> tuple[type[FirstLayerGuard], tuple[None]]:
        return FirstLayerGuard, (None,)


def add_guards(root: nn.Module, planned: PlannedBlock, block: str) -> None:
    """Guard a block at the model, at each module between it and the site, or else at the model's first layer.

    Args:
        root: The model.
        planned: The block's plan in terms of the model.
        block: The block's name.
    """
    site = planned.site.module
    guard = _guard(root, with_kwargs=True)
    guard.sites[block] = site
    if planned.input_size is not None:
        guard.aspects[block] = planned.input_size
    between = 0
    module, names = root, site.split(".")
    for depth, name in enumerate(names[:-1], 1):
        module = innermost(module).get_submodule(name)
        if not isinstance(module, nn.ModuleList | nn.ModuleDict):  # they are not called
            _guard(module).sites[block] = ".".join(names[depth:])
            between += 1
    if not between:
        first = next((m for m in root.children() if next(m.parameters(), None) is not None), root)
        if first is not root and not any(isinstance(h, FirstLayerGuard) for h in first._forward_pre_hooks.values()):
            first.register_forward_pre_hook(FirstLayerGuard(root))


def remove_guards(root: nn.Module) -> None:
    """Take off all guards in a model."""
    for module in root.modules():
        hooks = module._forward_pre_hooks
        for key in [key for key, hook in hooks.items() if isinstance(hook, Guard | FirstLayerGuard)]:
            del hooks[key]
            module._forward_pre_hooks_with_kwargs.pop(key, None)


def forget_lost(root: nn.Module) -> None:
    """Guard no longer the blocks in a model that have been lost."""
    for module in root.modules():
        guard = guard_of(module)
        for name in guard.lost(module) if guard is not None else ():
            assert guard is not None
            del guard.sites[name]
            guard.aspects.pop(name, None)


def guard_of(module: nn.Module) -> Guard | None:
    """The guard on a module."""
    return next((h for h in module._forward_pre_hooks.values() if isinstance(h, Guard)), None)


def check_guards(model: nn.Module) -> None:
    """Raise `LostBlockError` if a block of any model inside no longer runs."""
    for module in model.modules():
        guard = guard_of(module)
        if guard is not None:
            guard.check(module)


def running_steps(model: nn.Module) -> list[RunBlock]:
    """What runs the blocks in a model."""
    return [s for _, host, s in steps_in(model) if isinstance(s, RunBlock) and follow(host, s.path) is not None]


def _guard(module: nn.Module, with_kwargs: bool = False) -> Guard:
    guard = guard_of(module)
    if guard is None:
        guard = Guard()
        module.register_forward_pre_hook(guard, with_kwargs=with_kwargs)
    return guard


def _runs_at(root: nn.Module, path: str, name: str) -> bool:
    site = follow(root, path)
    while site is not None:
        hook = hook_of(site)
        for step in hook.steps if hook is not None else ():
            if isinstance(step, RunBlock) and step.name == name:
                return follow(site, step.path) is not None
        site = unwrapped(site)
    return False


def _check_aspect(name: str, traced: tuple[int, int], inputs: Any) -> None:
    """Another aspect ratio may have as many tokens, in another grid."""
    images = (t for t in torch.utils._pytree.tree_leaves(inputs) if isinstance(t, Tensor) and t.ndim >= 4)
    height, width = next((tuple(image.shape[-2:]) for image in images), traced)
    if height * traced[1] != width * traced[0]:
        raise AWBError(
            f"no module shows the token grid of {name}, so it is that of {traced[0]}×{traced[1]} images, and "
            f"this one is {height}×{width}: attach at the input_size that the model runs at"
        )
