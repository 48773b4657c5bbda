"""The grid in which tokens stand: that of the forward in progress, and of those whose backward may yet come."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
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
        self._forwards: list[_Forward] = []

    def __reduce__(self) -> tuple[type[TokenGrid], tuple[tuple[int, int]]]:
        return TokenGrid, (self.traced,)

    @property
    def earlier(self) -> tuple[tuple[int, int], ...]:
        """Grids of forwards whose graph is still there: a checkpointed block may run again on them."""
        if torch.compiler.is_compiling():
            return ()
        return tuple(forward.size for forward in self._forwards if forward.has_graph())

    def update(self, source: Tensor) -> None:
        """Note the grid of a new forward, from the N×C×H×W map that becomes the tokens."""
        self.size = (source.shape[2], source.shape[3])
        if not _is_tracked(source) or not torch.is_grad_enabled():
            return
        self._forwards = [f for f in self._forwards if f.has_graph() and f.size != self.size]
        graphs = [_lifetime(source.grad_fn)] if source.grad_fn is not None else []
        self._forwards.append(_Forward(self.size, graphs, begun=bool(graphs)))

    def keep(self, output: Tensor) -> None:
        """Tie the forward in progress to a block's output, if its graph had not begun at the map: frozen layers."""
        if not _is_tracked(output) or torch._C._current_graph_task_id() != -1:  # in a backward pass
            return
        if self._forwards and not self._forwards[-1].begun:
            self._forwards[-1].graphs.append(_lifetime(output.grad_fn))


@dataclass
class _Forward:
    """A forward pass's grid, and what tells whether its graph is still there."""

    size: tuple[int, int]
    graphs: list[Callable[[], object]]
    begun: bool  # at the map that becomes the tokens

    def has_graph(self) -> bool:
        return any(graph() for graph in self.graphs)


def _is_tracked(tensor: object) -> bool:
    """Whether this is a run, and no compiler's or FX's look at the code."""
    return isinstance(tensor, Tensor) and not torch.compiler.is_compiling()


class _Mark:
    """Something that a weak reference can point to."""


def _lifetime(node: Any) -> Callable[[], object]:
    """True as long as the graph that the node belongs to; always, where there is no graph to tell by."""
    if node is None:
        return lambda: True
    mark = node.metadata.setdefault("awb", _Mark())  # the graph, unlike the Python object of its node, lives on
    return weakref.ref(mark)
