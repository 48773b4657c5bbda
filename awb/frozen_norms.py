"""Batch norms that go on normalising by the statistics that they have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from awb.hosts import Hook

_STATISTICS = ("running_mean", "running_var")


class FrozenNorm:
    """What one norm had when it was frozen, and how it is kept.

    `reset_running_stats()`, as `torch.optim.swa_utils.update_bn` calls it, does nothing where `track_running_stats`
    is off, and an eval pass needs no more than the statistics themselves.

    Args:
        norm: The norm.
    """

    def __init__(self, norm: nn.Module) -> None:
        self.tracked = getattr(norm, "track_running_stats", None)
        self.momentum = getattr(norm, "momentum", None)
        self.statistics = {name: norm._buffers.get(name) for name in _STATISTICS}
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):  # an instance norm would turn to the input's own
            norm.track_running_stats = False

    def keep(self, norm: nn.Module) -> None:
        """Before a pass: eval mode; and if a tool has put other statistics there to count anew, these again."""
        norm.training = False
        if torch.compiler.is_compiling() or getattr(norm, "_is_replica", False):
            return
        counts_anew = self.momentum is not None and getattr(norm, "momentum", None) is None
        for name, kept in self.statistics.items():
            present = norm._buffers.get(name)
            if present is kept:
                continue
            if counts_anew and isinstance(kept, Tensor) and isinstance(present, Tensor):
                present = norm._buffers[name] = kept.to(present)
            self.statistics[name] = present  # moved, converted or loaded

    def release(self, norm: nn.Module, training: bool) -> None:
        """Undo it."""
        if self.tracked is not None:
            norm.track_running_stats = self.tracked
        norm.training = training


class KeepStatistics(Hook):
    """Forward pre-hook: batch norms below the module stay frozen, even after `model.train()`.

    Args:
        norms: The norms by their path; `""` is the module itself.
    """

    def __init__(self, norms: dict[str, FrozenNorm]) -> None:
        self.norms = norms

    def __call__(self, module: nn.Module, args: Any) -> None:
        for path, frozen in self.norms.items():
            frozen.keep(module.get_submodule(path))


def freeze_statistics(model: nn.Module, paths: Iterable[str]) -> None:
    """Keep the norms at these paths in eval mode, with the statistics that they have."""
    norms = {path: FrozenNorm(model.get_submodule(path)) for path in paths}
    for path, frozen in norms.items():
        model.get_submodule(path).register_forward_pre_hook(KeepStatistics({"": frozen}))
        model.get_submodule(path).eval()
    # a norm that is replaced (SyncBatchNorm conversion) loses its hook: the root then sees to it
    model.register_forward_pre_hook(KeepStatistics(norms))


def release_statistics(model: nn.Module) -> None:
    """Undo `freeze_statistics`: the norms follow the model's mode again."""
    for module in model.modules():
        hooks = module._forward_pre_hooks
        kept = [(key, hook) for key, hook in hooks.items() if isinstance(hook, KeepStatistics)]
        for key, hook in kept:
            del hooks[key]
            for path, frozen in hook.norms.items():
                frozen.release(module.get_submodule(path), model.training)
