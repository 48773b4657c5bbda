"""Train the blocks: which parameters are new, freezing the rest, and optimiser groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from awb.attach import awb_blocks
from awb.classifier import find_head
from awb.errors import AWBError
from awb.frozen_norms import freeze_statistics, release_statistics

_FLAGS = "_awb_requires_grad"  # on a frozen model: each backbone parameter's former flag


def awb_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of all attached blocks."""
    for block in awb_blocks(model).values():
        yield from block.parameters()


def freeze_backbone(
    model: nn.Module, freeze_norm_stats: bool = True, *, head: str | Sequence[str] | None = None
) -> nn.Module:
    """Leave only the blocks and the head trainable.

    Args:
        model: A model with or without blocks.
        head: Paths of the modules that are trained besides the blocks, `["decoder", "segmentation_head"]`; `[]`
            for none. By default the classifier, if one is known: timm's `get_classifier()`, else the child named
            `fc`, `classifier`, `heads` or `head`, also inside a wrapper; and torchvision's auxiliary ones beside it.
        freeze_norm_stats: Also keep batch-norm layers of the backbone in eval mode, whatever `model.train()`
            says: their running statistics would otherwise move although no parameter does.

    Returns:
        The model.

    Raises:
        AWBError: Nothing would be left to train; no head is named and no classifier known, or something with
            parameters comes after it; or no module has a path in `head`.
    """
    heads = find_head(model, head)
    new = _new_parameters(model, heads)
    if not new:
        raise AWBError(
            f"{type(model).__name__} has neither blocks nor a head with parameters: nothing would be trained"
        )
    flags = model.__dict__.setdefault(_FLAGS, {})
    for name, parameter in model.named_parameters():
        flags.setdefault(name, parameter.requires_grad)
        parameter.requires_grad_(id(parameter) in new)
    release_statistics(model)
    if freeze_norm_stats:
        freeze_statistics(model, _backbone_norms(model, heads))
    return model


def unfreeze_backbone(model: nn.Module) -> nn.Module:
    """Undo `freeze_backbone`: each parameter gets the flag that it had before.

    Raises:
        AWBError: The model was not frozen by `freeze_backbone`.
    """
    frozen = [module for module in model.modules() if _FLAGS in module.__dict__]  # within a wrapper such as DDP
    if not frozen:
        raise AWBError("the backbone is not frozen; freeze_backbone(model) comes first")
    for module in frozen:
        parameters = dict(module.named_parameters())
        for name, flag in module.__dict__.pop(_FLAGS).items():
            if name in parameters:
                parameters[name].requires_grad_(flag)
        release_statistics(module)
    return model


def param_groups(
    model: nn.Module,
    lr: float,
    backbone_lr: float,
    weight_decay: float,
    *,
    head: str | Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Optimiser groups: blocks and head at one rate, the backbone at another.

    Biases, norms, scales such as γ, tokens and position embeddings are not decayed: decay would pull LKA's
    identity bias from 1 to 0. Frozen
    parameters are included (optimisers skip them), so that the same optimiser serves after unfreezing.

    Args:
        model: A model with or without blocks.
        lr: Learning rate of the blocks and the head.
        backbone_lr: Learning rate of everything else.
        weight_decay: Weight decay of the other weights, matrices and kernels.
        head: As in `freeze_backbone`.

    Returns:
        Up to four groups, each with a `name`.

    Raises:
        AWBError: No classifier is known and no head named, or no module has a path in `head`.
    """
    new = _new_parameters(model, find_head(model, head))
    norms = {id(p) for m in model.modules() if "Norm" in type(m).__name__ for p in m.parameters(recurse=False)}
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        part, rate = ("new", lr) if id(parameter) in new else ("backbone", backbone_lr)
        # a kernel or a matrix; tokens, position embeddings and scales have other names
        decayed = parameter.ndim > 1 and name.endswith("weight") and id(parameter) not in norms
        key = f"{part}, {'decay' if decayed else 'no decay'}"
        decay = weight_decay if decayed else 0.0
        group = groups.setdefault(key, {"name": key, "params": [], "lr": rate, "weight_decay": decay})
        group["params"].append(parameter)
    return list(groups.values())


def _new_parameters(model: nn.Module, heads: Mapping[str, nn.Module]) -> set[int]:
    return {id(p) for p in (*awb_parameters(model), *(p for head in heads.values() for p in head.parameters()))}


def _backbone_norms(model: nn.Module, heads: Mapping[str, nn.Module]) -> list[str]:
    new = {id(m) for part in (*awb_blocks(model).values(), *heads.values()) for m in part.modules()}
    modules = model.named_modules()
    return [n for n, m in modules if getattr(m, "running_mean", None) is not None and id(m) not in new]
