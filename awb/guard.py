"""Notice blocks that no longer run, at every way into a model.

What runs a block stays with the module that it follows. When that module is replaced (`SyncBatchNorm` conversion), the
block may be moved to the new one and never run, or be gone with the old one.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from awb.block import AWB
from awb.errors import AWBError, LostBlockError
from awb.hosts import Hook, RunBlock, hook_of, steps_in
from awb.planned import PlannedBlock
from awb.wrappers import follow, innermost, unwrapped


class Guard(Hook):
    """Forward pre-hook: refuse to run if a block below has been lost, or has another image's grid.

    Args:
        around: The model to guard, if it is not the module that the hook sits on but around it: `forward_features`
            passes by the hooks of the model itself, and none of its first layer's.
    """

    def __init__(self, around: nn.Module | None = None) -> None:
        self.sites: dict[str, str] = {}  # by block name: the path of its site, relative to the guarded module
        self.aspects: dict[str, tuple[int, int]] = {}  # for blocks with a fixed grid: the image that it belongs to
        self._around: Callable[[], nn.Module | None] | None = None if around is None else weakref.ref(around)

    def __call__(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        if self.is_inside and torch.compiler.is_compiling():
            return
        root = self.guarded(module)
        if root is None:  # the first layer is no longer in it
            return
        for name, path in self.sites.items():
            if not _runs_at(root, path, name):
                self.check(root)
                break
        for name, size in self.aspects.items():
            _check_aspect(name, size, (args, kwargs))

    @property
    def is_inside(self) -> bool:
        """Whether it sits on a layer of what it guards."""
        return self._around is not None

    def guarded(self, module: nn.Module) -> nn.Module | None:
        """What is guarded by this hook on a module; None if that is gone."""
        return module if self._around is None else self._around()

    def __deepcopy__(self, memo: dict[int, Any]) -> Guard:
        copied = Guard()
        copied.sites, copied.aspects = dict(self.sites), dict(self.aspects)
        root = None if self._around is None else memo.get(id(self._around()))
        copied._around = None if self._around is None else _nobody if root is None else weakref.ref(root)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_around": None if self._around is None else _nobody}

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


def add_guards(root: nn.Module, planned: PlannedBlock, block: str) -> None:
    """Guard a block at the model, at each module between it and the site, or else at the model's first layer.

    Args:
        root: The model.
        planned: The block's plan in terms of the model.
        block: The block's name.
    """
    site = planned.site.module
    guard = _guard(root)
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
    first = next((m for m in root.children() if next(m.parameters(), None) is not None), None)
    if not between and first is not None:
        _guard(first, around=root).sites[block] = site


def remove_guards(root: nn.Module) -> None:
    """Take off all guards in a model."""
    for module in root.modules():
        hooks = module._forward_pre_hooks
        for key in [key for key, hook in hooks.items() if isinstance(hook, Guard)]:
            del hooks[key]
            module._forward_pre_hooks_with_kwargs.pop(key, None)


def unguard(model: nn.Module, names: Iterable[str]) -> None:
    """Guard blocks no longer."""
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, Guard):
                for name in names:
                    hook.sites.pop(name, None)
                    hook.aspects.pop(name, None)


def lost_blocks(model: nn.Module) -> list[str]:
    """Names of the blocks of any model inside that no longer run."""
    return [name for guard, root in _guards(model) for name in guard.lost(root)]


def is_guarded(model: nn.Module) -> bool:
    """Whether blocks were attached to the model, or to one inside."""
    return next(_guards(model), None) is not None


def check_guards(model: nn.Module) -> None:
    """Raise `LostBlockError` if a block of any model inside no longer runs."""
    for guard, root in _guards(model):
        guard.check(root)


def running_steps(model: nn.Module) -> list[RunBlock]:
    """What runs the blocks in a model."""
    return [s for _, host, s in steps_in(model) if isinstance(s, RunBlock) and follow(host, s.path) is not None]


def _guards(model: nn.Module) -> Iterator[tuple[Guard, nn.Module]]:
    """The guards in a model, each with what it guards."""
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, Guard) and not hook.is_inside:
                yield hook, module


def _guard(module: nn.Module, around: nn.Module | None = None) -> Guard:
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, Guard) and hook.is_inside == (around is not None):
            return hook
    guard = Guard(around)
    module.register_forward_pre_hook(guard, with_kwargs=True)
    return guard


def _nobody() -> None:
    """What a guard on a first layer guards that was copied or unpickled without its model."""


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
