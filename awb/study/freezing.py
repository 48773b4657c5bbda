"""Freeze named parts of any model for an epoch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from torch import nn

from awb.errors import AWBError, did_you_mean

Part = Callable[[str], bool]


def freeze_parts(model: nn.Module, parts: Mapping[str, Part], frozen: Collection[str]) -> None:
    """Freeze the parameters of some parts of a model and unfreeze those of the others; call it after `model.train()`.

    Normalisation layers with running statistics in a frozen part are set to eval mode: their statistics would change
    otherwise. `model.train()` sets them back to train mode, hence the order.

    Args:
        model: Model; it may be wrapped in DistributedDataParallel if the predicates expect its prefix.
        parts: For each part, a predicate that is true for the names of its parameters and buffers, as they are in the
            model's state dict.
        frozen: Names of the frozen parts. Parameters in the other parts train; those in no part are not touched.

    Raises:
        AWBError: A frozen part is not among the parts, or a part has no parameter.
    """
    for name in frozen:
        if name not in parts:
            raise AWBError(f"no part {name!r}: there are {', '.join(parts)}{did_you_mean(name, parts)}")
    parameters = dict(model.named_parameters())
    frozen_parts = [parts[name] for name in frozen]
    for part, belongs in parts.items():
        members = [path for path in parameters if belongs(path)]
        if not members:
            raise AWBError(f"part {part!r} has no parameter of {type(model).__name__}")
        for path in members:
            parameters[path].requires_grad_(not any(freezes(path) for freezes in frozen_parts))
    for path, module in model.named_modules():
        if getattr(module, "running_mean", None) is not None:
            statistics = f"{path}.running_mean" if path else "running_mean"
            if any(freezes(statistics) for freezes in frozen_parts):
                module.eval()
