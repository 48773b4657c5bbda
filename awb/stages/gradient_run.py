"""Run a copy of a model with gradients, to follow the autograd graph from its modules to its outputs."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from awb.stages.copying import Copy, copy_with_values
from awb.stages.randomness import noise_like
from awb.stages.tensors import map_tensors, tensors_in
from awb.stages.trace import Trace


def usable_copy(model: nn.Module, traced: Trace) -> Copy:
    """Copy with values that let gradients through, and with parameters that require none."""
    copied = copy_with_values(model, traced.copied.hooks.which, fill_zeros=not traced.copied.has_values)
    copied.model.requires_grad_(False)
    return copied


def run_on_tape(copied: Copy, traced: Trace, generator: torch.Generator | None = None) -> Any:
    """Run a copy with gradients, inside its context `running(grad=True)`.

    Args:
        copied: The traced copy, or a `usable_copy`.
        traced: The trace, whose inputs the copy runs on.
        generator: If given, the copy runs on random input of the same shapes, one image at a time.

    Returns:
        The output, or None if the forward cannot run with gradients (it takes activations to numpy).
    """
    given = (traced.inputs, dict(traced.kwargs))
    if traced.copied.has_values:
        return _run_on_values(copied, given)
    alone = len(tensors_in(given)) == 1

    def on_tape(tensor: Tensor) -> Tensor:
        if generator is None:
            return on_the_tape(tensor)
        # beside other tensors the batch has to stay what it is
        like = tensor[:1] if tensor.ndim == 4 and alone else tensor
        return on_the_tape(noise_like(like, copied.device, generator))

    args, kwargs = map_tensors(given, on_tape)
    return copied.model(*args, **kwargs)


def on_the_tape(tensor: Tensor) -> Tensor:
    """Copy of a tensor on the autograd tape; not a leaf, since later layers may work in place."""
    if not tensor.is_floating_point():
        return tensor
    return (tensor if tensor.requires_grad else tensor.detach().requires_grad_()).clone()


def _run_on_values(copied: Copy, given: tuple[Any, Any]) -> Any:
    """Run a forward that reads values: its input stays off the tape, and the parameters go on it instead."""
    for parameter in copied.model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    args, kwargs = map_tensors(given, torch.clone)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Converting a tensor with requires_grad=True to a scalar")
        try:
            return copied.model(*args, **kwargs)
        except RuntimeError as error:
            if "requires grad" in str(error):  # of numpy() and the like
                return None
            raise
