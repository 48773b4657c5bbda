"""Freeze and unfreeze the backbone, so that blocks and head train alone, and list what trains."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import nn

from awb.attach import awb_blocks
from awb.classifier import find_head
from awb.errors import AWBError, require_module
from awb.hooks.frozen_norms import freeze_statistics, release_statistics
from awb.known_backbones import path_inside_wrappers
from awb.table import Table

_log = logging.getLogger("awb")
_FLAGS = "_awb_requires_grad"  # on a frozen model: each backbone parameter's former flag


def awb_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of all attached blocks."""
    for block in awb_blocks(model).values():
        yield from block.parameters()


def freeze_backbone(
    model: nn.Module, freeze_norm_stats: bool = True, *, head: str | Sequence[str] | None = None
) -> nn.Module:
    """Freeze the backbone, so that only the blocks and the head train.

    What trains is logged (`logging.getLogger("awb")`, level INFO); `trainable(model)` shows it as a table.

    Args:
        model: A model with or without blocks.
        head: Paths of the modules that train besides the blocks, `["decoder", "segmentation_head"]`; `[]`
            for none. By default the classifier, if one is known: timm's `get_classifier()`, else the child named
            `fc`, `classifier`, `heads` or `head`, also inside a wrapper; torchvision's auxiliary ones beside it; and
            the modules that PEFT has added.
        freeze_norm_stats: Also keep batch-norm layers of the backbone in eval mode, even after `model.train()`:
            their running statistics would otherwise change although no parameter does.

    Returns:
        The model.

    Raises:
        AWBError: Nothing would be left to train; no head is named, and no classifier is known or something else has
            parameters that are not in one known backbone; or no module has a path in `head`.
    """
    require_module(model)
    heads = find_head(model, head)
    new = new_parameters(model, heads)
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
    trained, parts = _count(model.parameters(), trained=True), ", ".join((*awb_blocks(model), *heads))
    _log.info("%s of %s parameters train: %s", f"{trained:,}", f"{_count(model.parameters()):,}", parts)
    return model


def unfreeze_backbone(model: nn.Module) -> nn.Module:
    """Undo `freeze_backbone`: each parameter gets its earlier `requires_grad` back.

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


def trainable(model: nn.Module) -> Table:
    """Count all and trainable parameters in each block and in each other child module of the network.

    Args:
        model: A model with or without blocks.

    Returns:
        A table with one row per block, one per child module of the network (inside its wrappers), and one for all.

    Examples:
        >>> import torchvision, awb
        >>> model = awb.freeze_backbone(awb.attach_awb(torchvision.models.resnet18(), 4))
        >>> [(row["part"], row["trainable"]) for row in awb.trainable(model) if row["trainable"]]
        [('layer4.1.awb', 301568), ('fc', 513000), ('all', 814568)]
    """
    blocks = awb_blocks(model)
    parts = {path: list(block.parameters()) for path, block in blocks.items()}
    inside = {id(parameter) for block in parts.values() for parameter in block}
    prefix = path_inside_wrappers(model)
    for name, parameter in model.named_parameters():
        if id(parameter) not in inside:
            part = prefix + name.removeprefix(prefix).partition(".")[0]
            parts.setdefault(part, []).append(parameter)
    parts["all"] = list(model.parameters())
    rows = ((part, _count(group), _count(group, trained=True)) for part, group in parts.items())
    return Table(("part", "parameters", "trainable"), tuple(rows))


def _count(parameters: Iterable[nn.Parameter], trained: bool = False) -> int:
    return sum(p.numel() for p in parameters if p.requires_grad or not trained)


def new_parameters(model: nn.Module, heads: Mapping[str, nn.Module]) -> set[int]:
    """Ids of the parameters of the blocks and the head."""
    return {id(p) for p in (*awb_parameters(model), *(p for head in heads.values() for p in head.parameters()))}


def _backbone_norms(model: nn.Module, heads: Mapping[str, nn.Module]) -> list[str]:
    new = {id(m) for part in (*awb_blocks(model).values(), *heads.values()) for m in part.modules()}
    modules = model.named_modules()
    return [n for n, m in modules if getattr(m, "running_mean", None) is not None and id(m) not in new]
