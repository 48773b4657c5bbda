"""The grid in which tokens stand: that of the forward in progress, and of those whose backward may yet come."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor


class TokenGrid:
    """Height and width of the token grid of the forward in progress, and of those whose backward may yet come.

    A copy starts from the traced grid, since the present one may hold a compiler's symbols.
    """

    def __init__(self, traced: tuple[int, int]) -> None:
        self.traced = traced
        self.size = traced
        self._begun = True  # the graph of the forward in progress, if it is to have one
        self._graphs: list[tuple[tuple[int, int], weakref.ref[_Mark]]] = []
        self._untold: set[tuple[int, int]] = set()  # grids of forwards without a graph to tell by

    def __reduce__(self) -> tuple[type[TokenGrid], tuple[tuple[int, int]]]:
        return TokenGrid, (self.traced,)

    @property
    def earlier(self) -> tuple[tuple[int, int], ...]:
        """Grids of forwards whose graph is still there: a checkpointed block may run again on them."""
        if torch.compiler.is_compiling():
            return ()
        return (*self._untold, *(size for size, graph in self._graphs if graph()))

    def update(self, source: Tensor) -> None:
        """Note the grid of a new forward, from the N×C×H×W map that becomes the tokens."""
        self.size = (source.shape[2], source.shape[3])
        if not _is_tracked(source):
            return
        self._graphs = [(size, graph) for size, graph in self._graphs if graph()]
        self._begun = source.grad_fn is not None or not torch.is_grad_enabled()
        if source.grad_fn is not None:
            self._graphs.append((self.size, _lifetime(source.grad_fn)))

    def keep(self, output: Tensor) -> None:
        """Tie the forward in progress to a block's output, if its graph had not begun at the map: frozen layers."""
        if not _is_tracked(output) or self._begun or torch._C._current_graph_task_id() != -1:  # in a backward pass
            return
        if output.grad_fn is None:
            self._untold.add(self.size)
        else:
            self._graphs.append((self.size, _lifetime(output.grad_fn)))


def _is_tracked(tensor: object) -> bool:
    """Whether this is a run, and no compiler's or FX's look at the code."""
    return isinstance(tensor, Tensor) and not torch.compiler.is_compiling()


class _Mark:
    """Something that a weak reference can point to."""


def _lifetime(node: Any) -> weakref.ref[_Mark]:
    """A reference that is there as long as the graph that the node belongs to."""
    mark = node.metadata.setdefault("awb", _Mark())  # the graph, unlike the Python object of its node, lives on
    return weakref.ref(mark)
