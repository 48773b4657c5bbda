"""Train the blocks: which parameters are new, freezing the rest, and optimiser groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from torch import nn

from awb.attach import awb_blocks
from awb.classifier import find_classifier
from awb.errors import AWBError

_FLAGS = "_awb_requires_grad"  # on a frozen model: each backbone parameter's former flag


def awb_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of all attached blocks."""
    for block in awb_blocks(model).values():
        yield from block.parameters()


def freeze_backbone(model: nn.Module, freeze_norm_stats: bool = True) -> nn.Module:
    """Leave only the blocks and the classifier trainable.

    Args:
        model: A model with or without blocks.
        freeze_norm_stats: Also keep batch-norm layers of the backbone in eval mode, whatever `model.train()`
            says: their running statistics would otherwise move although no parameter does.

    Returns:
        The model.

    Raises:
        AWBError: Nothing would be left to train.
    """
    new = _new_parameters(model)
    if not new:
        raise AWBError(f"{type(model).__name__} has neither blocks nor a known classifier: nothing would be trained")
    flags = model.__dict__.setdefault(_FLAGS, {})
    for name, parameter in model.named_parameters():
        if id(parameter) not in new:
            flags.setdefault(name, parameter.requires_grad)
            parameter.requires_grad_(False)
    if freeze_norm_stats:
        for module in _backbone_norms(model):
            if not _kept(module):
                module.register_forward_pre_hook(KeepStatistics())
            module.eval()
    return model


def unfreeze_backbone(model: nn.Module) -> nn.Module:
    """Undo `freeze_backbone`: each parameter gets the flag that it had before.

    Raises:
        AWBError: The model was not frozen by `freeze_backbone`.
    """
    flags = model.__dict__.pop(_FLAGS, None)
    if flags is None:
        raise AWBError("the backbone is not frozen; freeze_backbone(model) comes first")
    parameters = dict(model.named_parameters())
    for name, flag in flags.items():
        if name in parameters:
            parameters[name].requires_grad_(flag)
    for module in model.modules():
        keys = _kept(module)
        for key in keys:
            del module._forward_pre_hooks[key]
        if keys:
            module.train(model.training)
    return model


def param_groups(model: nn.Module, lr: float, backbone_lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Optimiser groups: blocks and classifier at one rate, the backbone at another.

    Biases, norms and the scale γ are not decayed: decay would pull LKA's identity bias from 1 to 0. Frozen
    parameters are included (optimisers skip them), so that the same optimiser serves after unfreezing.

    Args:
        model: A model with or without blocks.
        lr: Learning rate of the blocks and the classifier.
        backbone_lr: Learning rate of everything else.
        weight_decay: Weight decay of matrices and kernels.

    Returns:
        Up to four groups, each with a `name`.
    """
    new = _new_parameters(model)
    undecayed = set(cast(Any, model).no_weight_decay()) if hasattr(model, "no_weight_decay") else set()
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        part, rate = ("new", lr) if id(parameter) in new else ("backbone", backbone_lr)
        decayed = parameter.ndim > 1 and not name.endswith(".bias") and name not in undecayed
        key = f"{part}, {'decay' if decayed else 'no decay'}"
        decay = weight_decay if decayed else 0.0
        group = groups.setdefault(key, {"name": key, "params": [], "lr": rate, "weight_decay": decay})
        group["params"].append(parameter)
    return list(groups.values())


class KeepStatistics:
    """Forward pre-hook: a batch norm runs in eval mode, even after `model.train()`."""

    def __call__(self, module: nn.Module, args: Any) -> None:
        module.training = False


def _new_parameters(model: nn.Module) -> set[int]:
    heads = (p for head in find_classifier(model).values() for p in head.parameters())
    return {id(p) for p in (*awb_parameters(model), *heads)}


def _backbone_norms(model: nn.Module) -> list[nn.Module]:
    inside = (*awb_blocks(model).values(), *find_classifier(model).values())
    new = {id(m) for part in inside for m in part.modules()}
    return [m for m in model.modules() if getattr(m, "running_mean", None) is not None and id(m) not in new]


def _kept(module: nn.Module) -> list[int]:
    return [key for key, hook in module._forward_pre_hooks.items() if isinstance(hook, KeepStatistics)]
