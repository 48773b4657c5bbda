"""Steps that run after a host module: pass its output through a block, or note the token grid that it shows."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from awb.errors import AWBError, LostBlockError
from awb.hooks.token_grid import TokenGrid
from awb.wrappers import follow


class Step(Protocol):
    """Something that runs after a host."""

    def __call__(self, host: nn.Module, output: Any) -> Any:
        """Take the host's output, and return the output to use in its place."""


@dataclass
class RunBlock:
    """Pass the output, or one element of it, through a block below the host.

    Attributes:
        name: The block's path in the model that it was attached to; unique there.
        path: The block's path relative to the host.
        element: Index or key of the tensor in the output; None if the output is a tensor.
        grid: The grid of the tokens; None if the output is a map.
        num_prefix_tokens: Number of tokens in front of the grid.
    """

    name: str
    path: str
    element: int | str | None
    grid: TokenGrid | None = None
    num_prefix_tokens: int = 0

    def __call__(self, host: nn.Module, output: Any) -> Any:
        block = follow(host, self.path)
        if block is None:
            raise LostBlockError(f"block {self.name} is no longer at {self.path!r} below the module that it follows")
        x = output if self.element is None else output[self.element]
        y = block(x) if self.grid is None else self._on_tokens(block, x, self.grid)
        return y if self.element is None else replace_element(output, self.element, y)

    def _on_tokens(self, block: nn.Module, tokens: Tensor, grid: TokenGrid) -> Tensor:
        y: Tensor = block(tokens, grid=grid.of(tokens, self.num_prefix_tokens, self.name))
        grid.keep(y)
        return y


@dataclass
class NoteGrid:
    """Note the grid of the N×C×H×W output that becomes the tokens, or that is returned beside them.

    Attributes:
        grid: The grid that blocks read.
        element: Index or key, in the output, of the map or of its height and width; None if the output is the map.
    """

    grid: TokenGrid
    element: int | str | None

    def __call__(self, host: nn.Module, output: Any) -> Any:
        shown = output if self.element is None else output[self.element]
        if shown is None:
            raise AWBError(f"{type(host).__name__} shows no token grid for this input: give it whole images")
        if isinstance(shown, (list, tuple)):  # Dynamo before 2.14 cannot trace list | tuple
            self.grid.note((shown[0], shown[1]), next(value for value in output if isinstance(value, Tensor)))
        elif isinstance(shown, Tensor) and shown.ndim != 4:
            raise AWBError(f"{self.grid.source} returns {tuple(shown.shape)}, which shows no token grid: attach anew")
        else:
            self.grid.note((shown.shape[2], shown.shape[3]), shown)
        return output


def replace_element(output: Any, element: int | str, value: Tensor) -> Any:
    """Copy a tuple, named tuple, list or mapping with one element replaced."""
    if isinstance(output, Mapping):
        changed = copy.copy(output)
        changed[element] = value  # type: ignore[index]
        return changed
    if isinstance(output, tuple | list) and isinstance(element, int):
        items = [*output]
        items[element] = value
        if hasattr(output, "_make"):
            return output._make(items)
        return type(output)(items)
    raise AWBError(f"cannot replace element {element!r} of a {type(output).__name__}")
