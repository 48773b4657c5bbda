"""A copy of a model to try things on: on the meta device, or with its values."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from awb.errors import AWBError
from awb.hosts import remove_steps
from awb.stages.own_hooks import HooksOfCopy, Which, without_hooks
from awb.stages.tensors import TensorMap, first_device, map_copy

_META = torch.device("meta")


@dataclass(frozen=True)
class Copy:
    """A copy of a model in eval mode, floats in float32, that may be run without a trace on the model.

    Attributes:
        model: The copy.
        device: Where its tensors are.
        hooks: Those that run in it.
    """

    model: nn.Module
    device: torch.device
    hooks: HooksOfCopy

    @property
    def has_values(self) -> bool:
        """Whether it has values, and not only shapes."""
        return self.device.type != "meta"

    @contextmanager
    def running(self, grad: bool = False) -> Iterator[None]:
        """A context to run the copy in: no gradients unless asked for, and no effect on anything outside it."""
        with ExitStack() as stack:
            stack.enter_context(_random_states_kept(self.device))
            stack.enter_context(_float32_by_default())
            stack.enter_context(self.hooks.running())
            stack.enter_context(torch.set_grad_enabled(grad))
            stack.enter_context(self.device)
            if self.has_values:
                stack.enter_context(_ParametersReadOnly(self.model))
            yield


def meta_copy(model: nn.Module, which: Which = "own") -> Copy:
    """A copy without storage: running it reads no weight and draws no random number."""
    return _copy(model, to_meta, to_meta, _META, which)


def copy_with_values(model: nn.Module, which: Which = "own", fill_zeros: bool = False) -> Copy:
    """A copy that shares the storage of the model's float32 parameters; its buffers are its own.

    Args:
        model: The model; where it is on meta, the copy has small random values.
        which: The hooks to run in it.
        fill_zeros: Put noise where a tensor is all zero: zero gates hide a path.
    """
    device = first_device(model)

    def share(tensor: Tensor) -> Tensor:
        return _with_values(tensor, device, fill_zeros)

    duplicate = _copy(model, share, lambda tensor: share(tensor).clone(), device, which)
    for name, buffer in duplicate.model.named_buffers():
        if name.endswith("running_var"):
            buffer.abs_()  # noise is no variance
    return duplicate


def copy_structure(model: nn.Module, tensor_map: TensorMap) -> nn.Module:
    """A deep copy of `model` in eval mode, its tensors mapped, with none but its own hooks."""
    return _copy(model, tensor_map, tensor_map, _META, "own").model


def to_meta(tensor: Tensor) -> Tensor:
    """The tensor's shape without its storage; floats become float32, since half-precision models get any input."""
    return tensor.detach().to("meta", torch.float32 if tensor.is_floating_point() else tensor.dtype)


def _copy(model: nn.Module, parameters: TensorMap, others: TensorMap, device: torch.device, which: Which) -> Copy:
    memo = without_hooks(model)
    try:
        with torch.no_grad():
            duplicate = map_copy(model, _keeping_grad(parameters), _keeping_grad(others), memo)
        for module in duplicate.modules():
            remove_steps(module)  # a copy runs without blocks
        hooks = HooksOfCopy(model, duplicate, memo, which)
    except (TypeError, SystemError) as error:  # a lock, a file, a random generator
        raise AWBError(f"{type(model).__name__} cannot be copied for tracing ({error})") from error
    return Copy(duplicate.eval(), device, hooks)


def _keeping_grad(tensor_map: TensorMap) -> TensorMap:
    return lambda tensor: tensor_map(tensor).requires_grad_(tensor.requires_grad)


def _with_values(tensor: Tensor, device: torch.device, fill_zeros: bool) -> Tensor:
    """The tensor itself, as float32 with something in it: half precision underflows."""
    if not tensor.is_floating_point():
        return torch.zeros_like(tensor, device=device) if tensor.is_meta else tensor.detach()
    if tensor.is_meta or (fill_zeros and not tensor.any()):
        return _noise(tensor.shape).to(device if tensor.is_meta else tensor.device)
    # a tensor made in inference mode has no place on a tape
    return tensor.clone().float() if tensor.is_inference() else tensor.detach().float()


def _noise(shape: torch.Size) -> Tensor:
    """Small random values, each row the one before moved on by one: a model of billions of parameters needs few."""
    if not shape:
        return torch.full((), 0.05, dtype=torch.float32, device="cpu")
    row = shape[1:].numel()
    generator = torch.Generator().manual_seed(shape.numel())
    values = 0.05 * torch.randn(shape[0] + row, generator=generator, dtype=torch.float32, device="cpu")
    return values.as_strided(shape, (1, *torch.empty(shape[1:], device="meta").stride()))


@contextmanager
def _random_states_kept(device: torch.device) -> Iterator[None]:
    """The global random states are afterwards as they were: torch's, Python's and numpy's."""
    python, numpy = random.getstate(), np.random.get_state()
    accelerator = device.type not in ("cpu", "meta")
    devices = [device.index or 0] if accelerator else []
    try:
        with torch.random.fork_rng(devices, device_type=device.type if accelerator else "cuda"):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def _float32_by_default() -> Iterator[None]:
    """The copy is in float32, and so must be what its forward makes."""
    before = torch.get_default_dtype()
    if before is torch.float32:
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class _ParametersReadOnly(TorchDispatchMode):
    """Refuse an operation that writes to a parameter, whose storage is the model's."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._storages = {parameter.untyped_storage()._cdata for parameter in model.parameters()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for position in _written(func):
            value = args[position] if position < len(args) else None
            if isinstance(value, Tensor) and value.untyped_storage()._cdata in self._storages:
                raise AWBError("its forward changes its parameters")
        return func(*args, **(kwargs or {}))


@cache
def _written(func: Any) -> tuple[int, ...]:
    """Positions of the arguments that an operation writes to."""
    return tuple(i for i, argument in enumerate(func._schema.arguments) if argument.is_write)


def random_state() -> tuple[Any, ...]:
    """Something that changes when random numbers are drawn on the CPU."""
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())


def seed_random(seed: int) -> None:
    """Seed the CPU's random states; torch's own function would reset every CUDA generator."""
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def noise_like(tensor: Tensor, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Random floats, or zeros for integers, of a tensor's shape."""
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device=device)
    generator = generator or torch.Generator().manual_seed(0)
    return torch.randn(tensor.shape, generator=generator, dtype=torch.float32, device="cpu").to(device)
