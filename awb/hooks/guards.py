"""Guards: pre-hooks at every way into a model that notice blocks which no longer run.

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
from awb.block_plan import PlannedBlock
from awb.errors import AWBError, LostBlockError
from awb.hooks.hook import Hook
from awb.hooks.hosts import hook_of, running_blocks
from awb.hooks.steps import RunBlock
from awb.private_apis import forward_pre_hooks, remove_forward_pre_hooks, tree_leaves
from awb.wrappers import follow, innermost, unwrapped


class Guard(Hook):
    """Forward pre-hook that refuses to run if a block below has been lost, or has another image's grid.

    Args:
        around: The model to guard, if that is not the module that the hook sits on but one around it:
            `forward_features` skips the hooks of the model itself, but none of its first layer's.
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
        """True if the hook sits on a layer of the module that it guards."""
        return self._around is not None

    def guarded(self, module: nn.Module) -> nn.Module | None:
        """Module that this hook guards from where it sits; None if that is gone."""
        return module if self._around is None else self._around()

    def __deepcopy__(self, memo: dict[int, Any]) -> Guard:
        copied = Guard()
        copied.sites, copied.aspects = dict(self.sites), dict(self.aspects)
        root = None if self._around is None else memo.get(id(self._around()))
        copied._around = None if self._around is None else nobody if root is None else weakref.ref(root)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_around": None if self._around is None else nobody}

    def lost(self, root: nn.Module) -> list[str]:
        """Names of the blocks that no longer run anywhere below `root`."""
        lost = [name for name, path in self.sites.items() if not _runs_at(root, path, name)]
        running = {step.name for _, step, _ in running_blocks(root)} if lost else set()
        return [name for name in lost if name not in running]

    def check(self, root: nn.Module) -> None:
        """Raise `LostBlockError` if a block no longer runs, naming the block and the remedy."""
        lost = self.lost(root)
        if not lost:
            return
        present = {m.planned.path for m in root.modules() if isinstance(m, AWB)}
        gone = [name for name in lost if name not in present]
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
    """Guard a block at the model, and at each module between it and the site or else at the model's first layer.

    Args:
        root: The model.
        planned: The block's plan, with paths in the model.
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
    """Remove all guards from a model."""
    for module in root.modules():
        remove_forward_pre_hooks(module, Guard)


def unguard(root: nn.Module, blocks: Iterable[str]) -> None:
    """Stop guarding blocks of these names."""
    for module in root.modules():
        for hook in forward_pre_hooks(module).values():
            if isinstance(hook, Guard):
                for block in blocks:
                    hook.sites.pop(block, None)
                    hook.aspects.pop(block, None)


def lost_blocks(model: nn.Module) -> list[str]:
    """Names of the blocks that no longer run in any model inside."""
    return [name for guard, root in _guards(model) for name in guard.lost(root)]


def is_guarded(model: nn.Module) -> bool:
    """True if there is a guard in a model."""
    return next(_guards(model), None) is not None


def check_guards(model: nn.Module) -> None:
    """Raise `LostBlockError` if a block of any model inside no longer runs."""
    for guard, root in _guards(model):
        guard.check(root)


def _guards(model: nn.Module) -> Iterator[tuple[Guard, nn.Module]]:
    """Guards in a model, each with the module that it guards."""
    for module in model.modules():
        for hook in forward_pre_hooks(module).values():
            if isinstance(hook, Guard) and not hook.is_inside:
                yield hook, module


def _guard(module: nn.Module, around: nn.Module | None = None) -> Guard:
    for hook in forward_pre_hooks(module).values():
        if isinstance(hook, Guard) and hook.is_inside == (around is not None):
            return hook
    guard = Guard(around)
    module.register_forward_pre_hook(guard, with_kwargs=True)
    return guard


def nobody() -> None:
    """Stand for the model around a first layer that was copied or unpickled without it."""


def _runs_at(root: nn.Module, path: str, name: str) -> bool:
    """True if the block with this name runs after the module at a path, or after one that it wraps."""
    site = follow(root, path)
    while site is not None:
        hook = hook_of(site)
        for step in hook.steps if hook is not None else ():
            if isinstance(step, RunBlock) and step.name == name:
                return follow(site, step.path) is not None
        site = unwrapped(site)
    return False


def _check_aspect(name: str, traced: tuple[int, int], inputs: Any) -> None:
    """Refuse an image of another aspect ratio, which may have as many tokens in another grid."""
    images = (t for t in tree_leaves(inputs) if isinstance(t, Tensor) and t.ndim >= 4)
    height, width = next((tuple(image.shape[-2:]) for image in images), traced)
    if height * traced[1] != width * traced[0]:
        raise AWBError(
            f"no module shows the token grid of {name}, so it is that of {traced[0]}×{traced[1]} images, and "
            f"this one is {height}×{width}: attach at the input_size that the model runs at"
        )
