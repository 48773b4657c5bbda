"""Readings of one forward and one backward pass: root mean squares, dead units and norms of gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from awb.block import AWB
from awb.stages.tensors import tensors_in

_ACTIVATIONS = ("torch.nn.modules.activation", "timm.layers.activations", "timm.layers.activations_me")


@dataclass
class Reading:
    """Reading at one block; None where the forward pass did not run it.

    Attributes:
        rms_before: Root mean square of the map before the block.
        rms_after: Root mean square of the map after it.
        dead_units: Share of the units that are 0 on all images in the next activation layer.
    """

    rms_before: float | None = None
    rms_after: float | None = None
    dead_units: float | None = None

    @property
    def ratio(self) -> float | None:
        """Root mean square after the block, divided by that before it."""
        if self.rms_before is None or self.rms_after is None:
            return None
        return self.rms_after / self.rms_before if self.rms_before else float("nan")


@dataclass
class Readings:
    """The readings of one forward pass.

    Attributes:
        blocks: The reading at each block, by the block's path.
        features: The tensors that each head was given, by the head's path.
    """

    blocks: dict[str, Reading] = field(default_factory=dict)
    features: dict[str, list[Tensor]] = field(default_factory=dict)
    _before_activation: list[Reading] = field(default_factory=list)

    def read_block(self, path: str, before: Tensor, after: Tensor) -> None:
        """Read the maps around a block."""
        reading = self.blocks[path]
        reading.rms_before, reading.rms_after = rms([before]), rms([after])
        self._before_activation.append(reading)

    def read_activation(self, output: Any) -> None:
        """Read the dead units after an activation layer, for the blocks before it."""
        while self._before_activation and isinstance(output, Tensor):
            self._before_activation.pop().dead_units = dead_units(output)


@contextmanager
def restored(model: nn.Module, measured: Iterable[nn.Parameter]) -> Iterator[None]:
    """Restore, on exit, everything that a forward pass changes; inside, measured parameters require gradients."""
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


@contextmanager
def watching(model: nn.Module, blocks: Mapping[str, AWB], heads: Mapping[str, nn.Module]) -> Iterator[Readings]:
    """Read the tensors that pass blocks and heads in the forward pass run in this context."""
    readings = Readings({path: Reading() for path in blocks}, {path: [] for path in heads})
    inside = {id(m) for block in blocks.values() for m in block.modules()}
    with ExitStack() as hooks:
        for path, block in blocks.items():
            hooks.callback(block.register_forward_hook(_block_hook(readings, path)).remove)
        for path, head in heads.items():
            hook = head.register_forward_pre_hook(_head_hook(readings.features[path]), with_kwargs=True)
            hooks.callback(hook.remove)
        for module in model.modules():
            if type(module).__module__ in _ACTIVATIONS and id(module) not in inside:
                hooks.callback(module.register_forward_hook(lambda _, args, out: readings.read_activation(out)).remove)
        yield readings


def _block_hook(readings: Readings, path: str) -> Any:
    return lambda block, args, output: readings.read_block(path, args[0], output)


def _head_hook(features: list[Tensor]) -> Any:
    def hook(head: nn.Module, args: Any, kwargs: Any) -> None:
        features.extend(tensors_in((args, kwargs)))  # a detector's head gets a list of maps

    return hook


def rms(tensors: Sequence[Tensor]) -> float:
    """Root mean square over all elements of some tensors."""
    squares = torch.stack([x.detach().double().square().sum().cpu() for x in tensors]).sum()
    return (squares / sum(x.numel() for x in tensors)).sqrt().item()


def dead_units(activations: Tensor) -> float:
    """Share of channels that are 0 everywhere; a map's are on axis 1 or 3 (no row of a map is 0 by itself)."""
    axes = (1, 3) if activations.ndim == 4 else (activations.ndim - 1,)
    zero = activations.detach().eq(0).float()
    return max(zero.amin(dim=[d for d in range(zero.ndim) if d != axis]).mean().item() for axis in axes)


def gradient_norms(groups: Mapping[str, Sequence[nn.Parameter]], ends: Sequence[Tensor]) -> dict[str, float]:
    """Norm of the gradient of each group of parameters, from a fixed random projection of some tensors.

    Args:
        groups: The parameters by the name of their group.
        ends: The tensors that the backward pass starts at.
    """
    ends = [end for end in ends if end.requires_grad and end.is_floating_point()]
    parameters = [p for group in groups.values() for p in group]
    if not ends or not parameters:
        return dict.fromkeys(groups, 0.0)
    # fixed random weights: the sum of a normalised output would be constant
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(end.shape, generator=generator, device="cpu").to(end.device) for end in ends]
    score = torch.stack([(end.float() * w).sum() for end, w in zip(ends, weights, strict=True)]).sum()
    gradients = dict(zip(map(id, parameters), torch.autograd.grad(score, parameters, allow_unused=True), strict=True))
    return {name: _norm([gradients[id(p)] for p in group]) for name, group in groups.items()}


def _norm(gradients: list[Tensor | None]) -> float:
    squares = [g.double().square().sum().cpu() for g in gradients if g is not None]
    return torch.stack(squares).sum().sqrt().item() if squares else 0.0
