"""The error for a forward that cannot be traced: the input may be wrong, or the forward random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import nn

from awb.errors import AWBError
from awb.stages.calls import Call
from awb.stages.copying import Copy
from awb.stages.tensors import tensors_in


class RandomForward(Exception):
    """The forward depends on values and draws random numbers."""


def untraceable(copied: Copy, calls: Sequence[Call], inputs: Any, error: Exception) -> AWBError:
    """Error that says why a copy could not be traced, and what the user can do."""
    shapes = [tuple(t.shape) for t in tensors_in(inputs)]
    name = type(copied.model).__name__
    failed = f"{name} cannot be traced on an input of shape {shapes[0] if len(shapes) == 1 else shapes}"
    part = _largest_part(copied.model, calls)
    if isinstance(error, RandomForward):
        return AWBError(
            f"{failed}: its forward depends on values and draws random numbers (as one does that draws random numbers "
            "to skip a layer), so that what runs is left to chance; attach to a part that does not"
            + (f", e.g. attach_awb({as_code(part)}, …)" if part else "")
        )
    ran = f", or attach to a part that runs, e.g. attach_awb({as_code(part)}, …)" if part else ""
    return AWBError(
        f"{failed} ({type(error).__name__}: {error}); "
        f"pass input_size=(height, width) or example_input=… that the model accepts{ran}"
    )


def as_code(path: str) -> str:
    """The Python expression for a module of `model`."""
    identifiers = all(name.isidentifier() for name in path.split("."))
    return f"model.{path}" if identifiers else f"model.get_submodule({path!r})"


def _largest_part(model: nn.Module, calls: Sequence[Call]) -> str | None:
    """The path of the module with the most parameters that has run exactly once."""
    times = Counter(call.name for call in calls)
    parts = {name: model.get_submodule(name) for name, count in times.items() if name and count == 1}
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    sizes = {name: size for name, size in sizes.items() if size and next(parts[name].children(), None) is not None}
    return max(sizes, key=lambda name: (sizes[name], -name.count(".")), default=None)
