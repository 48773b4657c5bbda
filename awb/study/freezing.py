"""Freeze named parts of any model for an epoch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from torch import nn

from awb.errors import AWBError, did_you_mean

Part = Callable[[str], bool]


def freeze_parts(model: nn.Module, parts: Mapping[str, Part], frozen: Collection[str]) -> None:
    """Let the parameters of some parts wait and those of the others train; to be called after `model.train()`.

    Normalisation layers with running statistics in a frozen part go to eval mode: their statistics would otherwise
    move although no parameter does. `model.train()` sets them to train mode again, hence the order.

    Args:
        model: The model, also within DistributedDataParallel if the part's predicate knows its prefix.
        parts: For each part, which names of parameters and buffers (as in the model's state dict) belong to it.
        frozen: The parts that wait; all parameters in the other parts train, those in no part are left alone.

    Raises:
        AWBError: A frozen part is not among the parts, or a part has no parameter.
    """
    for name in frozen:
        if name not in parts:
            raise AWBError(f"no part {name!r}: there are {', '.join(parts)}{did_you_mean(name, parts)}")
    parameters = dict(model.named_parameters())
    waiting = [parts[name] for name in frozen]
    for part, belongs in parts.items():
        members = [path for path in parameters if belongs(path)]
        if not members:
            raise AWBError(f"part {part!r} has no parameter of {type(model).__name__}")
        for path in members:
            parameters[path].requires_grad_(not any(waits(path) for waits in waiting))
    for path, module in model.named_modules():
        if getattr(module, "running_mean", None) is not None:
            statistics = f"{path}.running_mean" if path else "running_mean"
            if any(waits(statistics) for waits in waiting):
                module.eval()
