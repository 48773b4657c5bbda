"""Diagnose a network: one forward and one backward pass on real images show whether signal and gradient get through."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from awb.attach import attached_blocks, awb_blocks
from awb.block import AWB
from awb.classifier import find_classifier, find_head
from awb.errors import AWBError, DeadNetworkError, require_module, shortlist
from awb.hooks.guards import is_guarded
from awb.private_apis import tree_map_only
from awb.readings import Readings, dead_units, gradient_norms, restored, rms, watching
from awb.stages.example_inputs import as_arguments
from awb.stages.tensors import tensors_in
from awb.table import Table

_HEADERS = ("stage", "site", "RMS before", "RMS after", "ratio", "dead units after", "gradient norm", "trained")
_HEAD, _BACKBONE = "head", "backbone"  # groups of parameters beside the blocks


@torch.inference_mode(False)
def diagnose(
    model: nn.Module, images: Any, *, raise_if_dead: bool = False, head: str | Sequence[str] | None = None
) -> Table:
    """Measure whether signal and gradient pass every block; without blocks, whether they reach the classifier.

    One forward and one backward pass in the model's present mode; parameters, gradients, statistics, random state
    and hooks are as before afterwards. The gradient is that of a fixed random projection of the logits and of
    the features before the classifier (a classifier at zero passes none back).

    Args:
        model: A model with or without blocks.
        images: A batch of real images, N×C×H×W, preprocessed as in training (or a tuple of arguments, or a dict).
        raise_if_dead: Raise if the network cannot learn; for training scripts.
        head: Paths of the head's modules, as in `freeze_backbone`; by default the classifier, if one is known. A
            network without blocks needs one.

    Returns:
        A table with one row per block: root mean square of the map before and after it, their ratio, the share of
        units (channels) that are 0 everywhere on all images in the activation layer that follows (None if that is a
        function and not a module), the norm of the block's gradient (for a frozen block, what it would be), and the
        share of its parameters that train. The last row is the head's weights. Notes name blocks that are frozen, and
        those that this forward pass did not run.

        Without blocks: a row for the weights of the backbone, with the gradient of those that train, and one for the
        head's, with the root mean square of the features before it. A note says in a sentence what reaches the head.

    Raises:
        AWBError: A block no longer runs, `images` is one image without a batch axis, no module has a path in `head`,
            or a model without blocks has no head that is known or named.
        DeadNetworkError: With `raise_if_dead`: a block or the classifier's weights get a gradient of exactly 0
            or not finite, or every unit after a block is dead, or the forward pass does not run a block. Without
            blocks: the features before the head are all 0 or not finite, or the gradient of its weights or of the
            backbone's that train is, or the forward pass does not run it.

    Examples:
        >>> import torch, torchvision, awb
        >>> model = torchvision.models.resnet18()
        >>> table = awb.diagnose(model, torch.randn(2, 3, 64, 64), raise_if_dead=True)
        >>> [row["site"] for row in table]
        ['backbone (weights)', 'head (weights)']
    """
    require_module(model)
    blocks = attached_blocks(model) if awb_blocks(model) or is_guarded(model) else {}
    _require_batch(model, blocks, images)
    heads = find_classifier(model) if head is None else find_head(model, head)
    if not blocks and not heads:
        raise AWBError(
            f"{type(model).__name__} has neither blocks nor a head that is known: name the modules that make the "
            f"logits, as in head=['path.of.module']; it has {shortlist([name for name, _ in model.named_children()])}"
        )
    groups = _groups(model, blocks, heads)
    with restored(model, [p for group in groups.values() for p in group]), watching(model, blocks, heads) as readings:
        args, kwargs = tree_map_only(Tensor, Tensor.clone, as_arguments(images))
        ends = tensors_in(model(*args, **kwargs))
        norms = gradient_norms(groups, [*ends, *(t for given in readings.features.values() for t in given)])
    trained = {name: _share_trained(group) for name, group in _groups(model, blocks, heads, frozen_too=True).items()}
    if raise_if_dead:
        _raise_if_dead(blocks, readings, norms)
    return _blocks_table(blocks, readings, norms, trained) if blocks else _plain_table(readings, norms, trained)


def _require_batch(model: nn.Module, blocks: Mapping[str, AWB], images: Any) -> None:
    """Refuse one image without a batch axis."""
    inside = {id(m) for block in blocks.values() for m in block.modules()}
    convolutions = (m for m in model.modules() if isinstance(m, nn.Conv2d) and id(m) not in inside)
    first = next(convolutions, None)
    if first is not None and isinstance(images, Tensor) and images.ndim == 3 and len(images) == first.in_channels:
        shape = "×".join(map(str, images.shape))
        raise AWBError(f"images is one image of {shape}: expected a batch, N×C×H×W, such as images[None]")


def _groups(
    model: nn.Module, blocks: Mapping[str, AWB], heads: Mapping[str, nn.Module], frozen_too: bool = False
) -> dict[str, list[nn.Parameter]]:
    """Parameters whose gradient is measured: the blocks', or the backbone's that train; and the head's weights."""
    groups = {path: list(block.parameters()) for path, block in blocks.items()}
    head = [p for module in heads.values() for p in module.parameters()]
    if not blocks:
        inside = {id(p) for p in head}
        rest = [p for p in model.parameters() if id(p) not in inside]
        groups[_BACKBONE] = [p for p in rest if p.requires_grad or frozen_too]
    groups[_HEAD] = [p for p in head if p.ndim > 1]
    return {name: group for name, group in groups.items() if group}  # pooling has no gradient to lack


def _blocks_table(
    blocks: Mapping[str, AWB], readings: Readings, norms: Mapping[str, float], trained: Mapping[str, float]
) -> Table:
    rows: list[tuple[Any, ...]] = []
    for path, block in blocks.items():
        r, planned = readings.blocks[path], block.planned
        row = (planned.stage, str(planned.site), r.rms_before, r.rms_after, r.ratio, r.dead_units, norms.get(path))
        rows.append((*row, trained.get(path)))
    rows.append(_weights_row(_HEAD, None, norms, trained))
    frozen = ", ".join(path for path in blocks if trained.get(path) == 0)
    not_run = ", ".join(path for path in blocks if readings.blocks[path].rms_before is None)
    notes = (f"frozen: {frozen}" if frozen else "", f"not run by this forward: {not_run}" if not_run else "")
    return Table(_HEADERS, tuple(rows), tuple(filter(None, notes)))


def _plain_table(readings: Readings, norms: Mapping[str, float], trained: Mapping[str, float]) -> Table:
    """Table for a network without blocks."""
    features = [tensor for given in readings.features.values() for tensor in given]
    rows = (
        _weights_row(_BACKBONE, None, norms, trained),
        _weights_row(_HEAD, rms(features) if features else None, norms, trained),
    )
    said = "; ".join(
        f"{path} gets features of a root mean square of {rms(given):.4g}, {max(map(dead_units, given)):.1%} of them 0 "
        "on all images"
        if given
        else f"this forward does not run {path}"
        for path, given in readings.features.items()
    )
    return Table(_HEADERS, rows, (f"no blocks; {said}",))


def _weights_row(
    group: str, rms_before: float | None, norms: Mapping[str, float], trained: Mapping[str, float]
) -> tuple[Any, ...]:
    return None, f"{group} (weights)", rms_before, None, None, None, norms.get(group), trained.get(group)


def _share_trained(parameters: Sequence[nn.Parameter]) -> float:
    return sum(p.numel() for p in parameters if p.requires_grad) / sum(p.numel() for p in parameters)


def _raise_if_dead(blocks: Mapping[str, AWB], readings: Readings, norms: Mapping[str, float]) -> None:
    problems = [f"the gradient of {name} is {norm:g}" for name, norm in norms.items() if _is_dead(norm)]
    for path, reading in readings.blocks.items():
        if reading.rms_before is None:
            problems.append(f"the forward does not run {path}")
        if reading.dead_units == 1:
            problems.append(f"every unit after {path} is 0 on all images")
    for path, given in readings.features.items() if not blocks else ():
        if not given:
            problems.append(f"the forward does not run {path}")
        elif _is_dead(rms(given)):
            problems.append(f"the features before {path} have a root mean square of {rms(given):g}")
    if problems:
        raise DeadNetworkError(f"the network is dead: {'; '.join(problems)}. {_cause(blocks)}")


def _is_dead(size: float) -> bool:
    return size == 0 or not math.isfinite(size)


def _cause(blocks: Mapping[str, AWB]) -> str:
    if not blocks:
        return (
            "It has no blocks: look for weights and images that are not finite, for norms whose scale is 0, and for "
            "parts that detach their output or run under torch.no_grad()"
        )
    if any(block.planned.init == "default" for block in blocks.values()):
        return (
            "A block with init='default' shrinks what a frozen network expects: attach with init='identity', or train "
            "the layers after it too"
        )
    return (
        "The blocks started as the identity: look at what they and the layers after them have learned, and "
        "for parts that detach their output or run under torch.no_grad()"
    )
