"""Is the network alive? One forward and one backward on real images, at every block and the classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from awb.attach import attached_blocks
from awb.block import AWB
from awb.classifier import find_classifier, find_head
from awb.errors import AWBError, DeadNetworkError
from awb.stages.example_inputs import as_arguments
from awb.table import Table

_ACTIVATIONS = ("torch.nn.modules.activation", "timm.layers.activations", "timm.layers.activations_me")


@dataclass
class _Reading:
    """What one site showed; None if the forward did not run its block."""

    rms_before: float | None = None
    rms_after: float | None = None
    dead_units: float | None = None

    @property
    def ratio(self) -> float | None:
        if self.rms_before is None or self.rms_after is None:
            return None
        return self.rms_after / self.rms_before if self.rms_before else float("nan")


@dataclass
class _Readings:
    sites: dict[str, _Reading] = field(default_factory=dict)
    waiting: list[_Reading] = field(default_factory=list)  # for the next activation
    features: list[Tensor] = field(default_factory=list)


@torch.inference_mode(False)
def diagnose(
    model: nn.Module, images: Any, *, raise_if_dead: bool = False, head: str | Sequence[str] | None = None
) -> Table:
    """Measure whether signal and gradient pass every block.

    One forward and one backward in the model's present mode; parameters, gradients, statistics, random state
    and hooks are as before afterwards. The gradient is that of a fixed random projection of the logits and of
    the features before the classifier (a classifier at zero passes none back).

    Args:
        model: A model with blocks.
        images: A batch of real images, N×C×H×W, preprocessed as in training (or a tuple of arguments, or a dict).
        raise_if_dead: Raise if the network cannot learn; for training scripts.
        head: As in `freeze_backbone`; without it the classifier, if one is known.

    Returns:
        A row a block: root mean square of the map before and after it, their ratio, the share of units (channels)
        that are 0 everywhere on all images in the activation layer that follows (None if that is a function
        and not a module), the norm of the block's gradient (a frozen one's too: what it would be), and the share
        of its parameters that train. The last row is the head's weights. Notes name blocks that are frozen, and
        those that this forward did not run.

    Raises:
        AWBError: The model has no blocks, one no longer runs, `images` is one image without a batch axis, or no
            module has a path in `head`.
        DeadNetworkError: With `raise_if_dead`: a block or the classifier's weights get a gradient of exactly 0
            or not finite, or every unit after a block is dead, or the forward does not run a block.
    """
    blocks = attached_blocks(model)
    _require_batch(model, blocks, images)
    heads = find_classifier(model) if head is None else find_head(model, head)
    groups = {path: list(block.parameters()) for path, block in blocks.items()}
    groups["head"] = [p for head in heads.values() for p in head.parameters() if p.ndim > 1]
    groups = {name: group for name, group in groups.items() if group}  # pooling has no gradient to lack
    readings = _Readings()
    with _restored(model, [p for group in groups.values() for p in group]), ExitStack() as hooks:
        _watch(model, blocks, heads, readings, hooks)
        args, kwargs = torch.utils._pytree.tree_map_only(Tensor, Tensor.clone, as_arguments(images))
        logits = _tensors(model(*args, **kwargs))
        norms = _gradient_norms(groups, logits + readings.features)
    table = _table(blocks, groups, readings, norms)
    if raise_if_dead:
        _raise_if_dead(blocks, readings, norms)
    return table


def _require_batch(model: nn.Module, blocks: dict[str, AWB], images: Any) -> None:
    inside = {id(m) for block in blocks.values() for m in block.modules()}
    convolutions = (m for m in model.modules() if isinstance(m, nn.Conv2d) and id(m) not in inside)
    first = next(convolutions, None)
    if first is not None and isinstance(images, Tensor) and images.ndim == 3 and len(images) == first.in_channels:
        shape = "×".join(map(str, images.shape))
        raise AWBError(f"images is one image of {shape}: expected a batch, N×C×H×W, such as images[None]")


@contextmanager
def _restored(model: nn.Module, measured: list[nn.Parameter]) -> Iterator[None]:
    """Everything that a forward in train mode moves is put back; the measured parameters get a gradient."""
    buffers = [(b, b.clone()) for b in model.buffers()]
    flags = [(p, p.requires_grad) for p in measured]
    modes = [(m, m.training) for m in model.modules()]
    devices = {p.device for p in model.parameters() if p.is_cuda}
    try:
        with torch.random.fork_rng(devices=[d.index for d in devices]), torch.enable_grad():
            for parameter, _ in flags:
                parameter.requires_grad_(True)
            yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _watch(
    model: nn.Module, blocks: dict[str, AWB], heads: dict[str, nn.Module], readings: _Readings, hooks: ExitStack
) -> None:
    for path, block in blocks.items():
        readings.sites[path] = _Reading()
        hooks.callback(block.register_forward_hook(_site_hook(readings, readings.sites[path])).remove)
    for head in heads.values():
        hooks.callback(head.register_forward_pre_hook(_features_hook(readings)).remove)
    inside = {id(m) for block in blocks.values() for m in block.modules()}
    for module in model.modules():
        if type(module).__module__ in _ACTIVATIONS and id(module) not in inside:
            hooks.callback(module.register_forward_hook(_activation_hook(readings)).remove)


def _features_hook(readings: _Readings) -> Any:
    def hook(head: nn.Module, args: Any) -> None:
        readings.features.extend(_tensors(args))  # a detector's head gets a list of maps

    return hook


def _site_hook(readings: _Readings, reading: _Reading) -> Any:
    def hook(block: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        reading.rms_before, reading.rms_after = _rms(args[0]), _rms(output)
        readings.waiting.append(reading)

    return hook


def _activation_hook(readings: _Readings) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        while readings.waiting and isinstance(output, Tensor):
            readings.waiting.pop().dead_units = _dead_units(output)

    return hook


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def _rms(x: Tensor) -> float:
    return x.detach().double().square().mean().sqrt().item()


def _dead_units(activations: Tensor) -> float:
    """Share of channels that are 0 everywhere; a map's are on axis 1 or 3 (no row of a map is 0 by itself)."""
    axes = (1, 3) if activations.ndim == 4 else (activations.ndim - 1,)
    zero = activations.detach().eq(0).float()
    return max(zero.amin(dim=[d for d in range(zero.ndim) if d != axis]).mean().item() for axis in axes)


def _gradient_norms(groups: dict[str, list[nn.Parameter]], ends: list[Tensor]) -> dict[str, float]:
    ends = [end for end in ends if end.requires_grad and end.is_floating_point()]
    parameters = [p for group in groups.values() for p in group]
    if not ends:
        return dict.fromkeys(groups, 0.0)
    # fixed random weights: the sum of a normalised output would be constant
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(end.shape, generator=generator, device="cpu").to(end.device) for end in ends]
    score = torch.stack([(end.float() * w).sum() for end, w in zip(ends, weights, strict=True)]).sum()
    gradients = dict(zip(map(id, parameters), torch.autograd.grad(score, parameters, allow_unused=True), strict=True))
    return {name: _norm([gradients[id(p)] for p in group]) for name, group in groups.items()}


def _norm(gradients: list[Tensor | None]) -> float:
    squares = [g.double().square().sum() for g in gradients if g is not None]
    return torch.stack(squares).sum().sqrt().item() if squares else 0.0


def _table(
    blocks: dict[str, AWB], groups: dict[str, list[nn.Parameter]], readings: _Readings, norms: dict[str, float]
) -> Table:
    trained = {name: _share_trained(group) for name, group in groups.items()}
    rows: list[tuple[Any, ...]] = []
    for path, block in blocks.items():
        r, planned = readings.sites[path], block.planned
        row = (planned.stage, str(planned.site), r.rms_before, r.rms_after, r.ratio, r.dead_units, norms.get(path))
        rows.append((*row, trained.get(path)))
    rows.append((None, "head (weights)", None, None, None, None, norms.get("head"), trained.get("head")))
    headers = ("stage", "site", "RMS before", "RMS after", "ratio", "dead units after", "gradient norm", "trained")
    frozen = ", ".join(path for path in blocks if trained.get(path) == 0)
    not_run = ", ".join(path for path in blocks if readings.sites[path].rms_before is None)
    notes = (f"frozen: {frozen}" if frozen else "", f"not run by this forward: {not_run}" if not_run else "")
    return Table(headers, tuple(rows), tuple(filter(None, notes)))


def _share_trained(parameters: list[nn.Parameter]) -> float:
    return sum(p.numel() for p in parameters if p.requires_grad) / sum(p.numel() for p in parameters)


def _raise_if_dead(blocks: dict[str, AWB], readings: _Readings, norms: dict[str, float]) -> None:
    problems = []
    for name, norm in norms.items():
        if norm == 0 or norm != norm or norm == float("inf"):
            problems.append(f"the gradient of {name} is {norm:g}")
    for path in blocks:
        if readings.sites[path].rms_before is None:
            problems.append(f"the forward does not run {path}")
        if readings.sites[path].dead_units == 1:
            problems.append(f"every unit after {path} is 0 on all images")
    if problems:
        cause = (
            "A block with init='default' shrinks what a frozen network expects: attach with init='identity', or train "
            "the layers after it too"
            if any(block.planned.init == "default" for block in blocks.values())
            else "The blocks started as the identity: look at what they and the layers after them have learned, and "
            "for parts that detach their output or run under torch.no_grad()"
        )
        raise DeadNetworkError(f"the network is dead: {'; '.join(problems)}. {cause}")
