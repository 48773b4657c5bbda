"""Copies of a model to try things on: on the meta device (structure without storage), or with values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from awb.errors import AWBError
from awb.hooks.hosts import remove_steps
from awb.private_apis import TorchDispatchMode, storage_id, written_arguments
from awb.stages.copied_hooks import HooksOfCopy, Which, without_hooks
from awb.stages.randomness import fixed_noise, random_states_kept
from awb.stages.tensors import TensorMap, first_device, map_copy

_META = torch.device("meta")


@dataclass(frozen=True)
class Copy:
    """A copy of a model in eval mode and float32; running it has no effect on the model.

    Attributes:
        model: The copy.
        device: The device of its tensors.
        hooks: The hooks that run in it.
    """

    model: nn.Module
    device: torch.device
    hooks: HooksOfCopy

    @property
    def has_values(self) -> bool:
        """True if the tensors have values, and not only shapes."""
        return self.device.type != "meta"

    @contextmanager
    def running(self, grad: bool = False) -> Iterator[None]:
        """Context to run the copy in: without gradients unless requested, and without effect on anything else."""
        with ExitStack() as stack:
            stack.enter_context(random_states_kept(self.device))
            stack.enter_context(_float32_by_default())
            stack.enter_context(self.hooks.running())
            stack.enter_context(torch.set_grad_enabled(grad))
            stack.enter_context(self.device)
            if self.has_values:
                stack.enter_context(_ParametersReadOnly(self.model))
            yield


def meta_copy(model: nn.Module, which: Which = "own") -> Copy:
    """Copy a model without its storage; running the copy reads no weight and draws no random number."""
    return _copy(model, to_meta, to_meta, _META, which)


def copy_with_values(model: nn.Module, which: Which = "own", fill_zeros: bool = False) -> Copy:
    """Copy a model with its values: float32 parameters share the model's storage, buffers are the copy's own.

    Args:
        model: The model; the copy of a tensor on meta has small random values.
        which: The hooks to run in the copy.
        fill_zeros: Replace a tensor that is all zero by noise: gates at zero would hide a path.
    """
    device = first_device(model)

    def share(tensor: Tensor) -> Tensor:
        return _with_values(tensor, device, fill_zeros)

    duplicate = _copy(model, share, lambda tensor: share(tensor).clone(), device, which)
    for name, buffer in duplicate.model.named_buffers():
        if name.endswith("running_var"):
            buffer.abs_()  # no variance is negative, as noise may be
    return duplicate


def copy_structure(model: nn.Module, tensor_map: TensorMap) -> nn.Module:
    """Copy a model deeply, in eval mode, with its tensors mapped and its own hooks only."""
    return _copy(model, tensor_map, tensor_map, _META, "own").model


def to_meta(tensor: Tensor) -> Tensor:
    """Tensor of the same shape without storage; floats become float32: half-precision models may get any input."""
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
    """Tensor in float32, with noise where it has no values or they are to be replaced."""
    if not tensor.is_floating_point():
        return torch.zeros_like(tensor, device=device) if tensor.is_meta else tensor.detach()
    if tensor.is_meta or (fill_zeros and not tensor.any()):
        return fixed_noise(tensor.shape).to(device if tensor.is_meta else tensor.device)
    # a tensor made in inference mode has no place on a tape
    return tensor.clone().float() if tensor.is_inference() else tensor.detach().float()


@contextmanager
def _float32_by_default() -> Iterator[None]:
    """Make float32 the default dtype inside: the copy is float32, and so must be tensors that its forward creates."""
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
    """Refuse operators that write to a parameter, whose storage is the model's."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._storages = {storage_id(parameter) for parameter in model.parameters()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for position in written_arguments(func):
            value = args[position] if position < len(args) else None
            if isinstance(value, Tensor) and storage_id(value) in self._storages:
                raise AWBError("its forward changes its parameters")
        return func(*args, **(kwargs or {}))
