"""Frozen batch norms: they keep normalising by their old statistics, even where tools would reset them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from awb.hooks.hook import Hook
from awb.private_apis import BatchNorm, forward_pre_hooks, is_replica, own_buffers, remove_forward_pre_hooks

_STATISTICS = ("running_mean", "running_var")


class FrozenNorm:
    """One frozen norm: its earlier statistics and settings, and the means to keep them.

    `reset_running_stats()`, as `torch.optim.swa_utils.update_bn` calls it, does nothing where `track_running_stats`
    is off, and an eval pass needs no more than the statistics themselves.

    Args:
        norm: The norm to freeze.
    """

    def __init__(self, norm: nn.Module) -> None:
        self.tracked = getattr(norm, "track_running_stats", None)
        self.momentum = getattr(norm, "momentum", None)
        self.statistics = {name: own_buffers(norm).get(name) for name in _STATISTICS}
        if isinstance(norm, BatchNorm):  # an instance norm would turn to the input's own
            norm.track_running_stats = False

    def keep(self, norm: nn.Module) -> None:
        """Set eval mode before a pass; undo the change if a tool has replaced the statistics to count them anew."""
        norm.training = False
        if torch.compiler.is_compiling() or is_replica(norm):
            return
        counts_anew = self.momentum is not None and getattr(norm, "momentum", None) is None
        for name, kept in self.statistics.items():
            present = own_buffers(norm).get(name)
            if present is kept:
                continue
            if counts_anew and isinstance(kept, Tensor) and isinstance(present, Tensor):
                present = own_buffers(norm)[name] = kept.to(present)
            self.statistics[name] = present  # moved, converted or loaded

    def release(self, norm: nn.Module, training: bool) -> None:
        """Let the norm follow its model's mode again, starting with this one."""
        if self.tracked is not None:
            norm.track_running_stats = self.tracked
        norm.training = training


class KeepStatistics(Hook):
    """Forward pre-hook that keeps batch norms below the module frozen, even after `model.train()`.

    Args:
        norms: The frozen norms by their path below the module; `""` is the module itself.
    """

    def __init__(self, norms: dict[str, FrozenNorm]) -> None:
        self.norms = norms

    def __call__(self, module: nn.Module, args: Any) -> None:
        for path, frozen in self.norms.items():
            frozen.keep(module.get_submodule(path))


def freeze_statistics(model: nn.Module, paths: Iterable[str]) -> None:
    """Freeze the norms at these paths: they stay in eval mode, with the statistics that they have."""
    norms = {path: FrozenNorm(model.get_submodule(path)) for path in paths}
    for path, frozen in norms.items():
        model.get_submodule(path).register_forward_pre_hook(KeepStatistics({"": frozen}))
        model.get_submodule(path).eval()
    # a norm that is replaced (SyncBatchNorm conversion) loses its hook: the root then sees to it
    model.register_forward_pre_hook(KeepStatistics(norms))


def release_statistics(model: nn.Module) -> None:
    """Undo `freeze_statistics`: the norms follow the model's mode again."""
    for module in model.modules():
        hooks = [hook for hook in forward_pre_hooks(module).values() if isinstance(hook, KeepStatistics)]
        remove_forward_pre_hooks(module, KeepStatistics)
        for path, frozen in ((path, frozen) for hook in hooks for path, frozen in hook.norms.items()):
            frozen.release(module.get_submodule(path), model.training)
