"""The token grid: height and width of the map that tokens came from, noted anew in each forward pass.

Models run at many image sizes, and the number of tokens alone does not tell 4×9 from 6×6: a wrong guess would transpose
the map in silence. So a step after the module that shows the grid notes it, and blocks read what it noted. Gradient
checkpointing is the hard case. A checkpointed block runs again in the backward pass, where the module that shows the
grid does not, and a forward pass of another size may lie between. Each noted grid is therefore tied to the autograd
graph of its forward pass, and in a backward pass the block takes the grid, among those whose graph is still there, that
has as many tokens as it is given.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import torch
from torch import Tensor

from awb.errors import AWBError
from awb.private_apis import in_backward

Grid = tuple[int, int]


class TokenGrid:
    """Height and width of the token grid in this thread's forward pass, or in a backward pass.

    A copy knows the traced grid only.

    Args:
        traced: The grid at the traced input size.
        source: Name of the module that shows the grid, for errors; empty if none does, and the grid is fixed.
    """

    def __init__(self, traced: Grid, source: str = "") -> None:
        self.traced = traced
        self.source = source
        self._here = _Here()
        self._lock = threading.Lock()
        self._graphs: list[tuple[Grid, weakref.ref[_Mark]]] = []
        self._untold: set[Grid] = set()  # grids of forwards without a graph to tell by

    def __reduce__(self) -> tuple[type[TokenGrid], tuple[Grid, str]]:
        return TokenGrid, (self.traced, self.source)

    def note(self, size: Grid, source: Tensor) -> None:
        """Note the grid of a new forward pass.

        Args:
            size: Height and width.
            source: The map or tokens with which the graph of the forward pass begins.
        """
        self._here.size = size
        if not _is_tracked(source):
            return
        self._here.read_by = set()
        self._here.begun = source.grad_fn is not None or not torch.is_grad_enabled()
        with self._lock:
            self._graphs = [(size, graph) for size, graph in self._graphs if graph()]
            if source.grad_fn is not None:
                self._graphs.append((size, _lifetime(source.grad_fn)))

    def of(self, tokens: Tensor, num_prefix_tokens: int, reader: object) -> Grid:
        """Grid of the tokens that a block receives.

        Args:
            tokens: N×L×C.
            num_prefix_tokens: Number of tokens in front of the grid.
            reader: Name of the block, which reads each noted grid once.

        Raises:
            AWBError: The module that shows the grid has not run since the last reading, or, in a backward pass, several
                grids have as many tokens.
        """
        if not self.source:
            return self.traced
        here = self._here
        if not _is_tracked(tokens):
            return self.traced if here.size is None else here.size
        if in_backward():
            return self._of_graphs(tokens.shape[1] - num_prefix_tokens)
        if here.size is None or reader in here.read_by:
            raise AWBError(
                f"{reader}: {self.source}, which shows the grid of its tokens, has not run before it in this forward "
                "pass (a part of a model was cut out, or the module replaced): run them together; after a "
                "replacement, call awb.rehook_awb(model); to use a part, attach to that part"
            )
        here.read_by.add(reader)
        return here.size

    def keep(self, output: Tensor) -> None:
        """Tie the grid to the graph of a block's output, if frozen layers before the block left the map without one."""
        here = self._here
        if not self.source or not _is_tracked(output) or here.begun or in_backward() or here.size is None:
            return
        with self._lock:
            if output.grad_fn is None:
                self._untold.add(here.size)
            else:
                self._graphs.append((here.size, _lifetime(output.grad_fn)))

    def _of_graphs(self, tokens: int) -> Grid:
        with self._lock:
            known = {*self._untold, *(size for size, graph in self._graphs if graph())}
        fits = {grid for grid in known if grid[0] * grid[1] == tokens}
        if len(fits) > 1:
            raise AWBError(
                f"{tokens} tokens may be any of the grids {sorted(fits)}: under gradient checkpointing, run the "
                "backward pass of one size, and let go of its loss, before the forward pass of another"
            )
        return fits.pop() if fits else self._here.size or self.traced


class _Here(threading.local):
    """Grid shown by this thread's forward pass, and the blocks that have read it."""

    def __init__(self) -> None:
        self.size: Grid | None = None
        self.read_by: set[object] = set()
        self.begun = True  # the graph of the forward in progress, if it is to have one


def _is_tracked(tensor: object) -> bool:
    """True in a real run, False while a compiler or FX reads the code."""
    return isinstance(tensor, Tensor) and not torch.compiler.is_compiling()


class _Mark:
    """An object for a weak reference to point to."""


def _lifetime(node: Any) -> weakref.ref[_Mark]:
    """A weak reference that lives as long as the graph that the node belongs to."""
    mark = node.metadata.setdefault("awb", _Mark())  # the graph, unlike the Python object of its node, lives on
    return weakref.ref(mark)
