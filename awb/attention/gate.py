"""Base classes of attention that multiplies its input by gates, whose maps can be captured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn


def product(gates: Mapping[str, Tensor]) -> Tensor:
    """Product of gates, which multiplies the input; its sides are 1 along axes that no gate depends on."""
    first, *others = gates.values()
    for gate in others:
        first = first * gate
    return first


class Gate(nn.Module):
    """Attention whose output is its input times one or several gates; a subclass defines `gates`."""

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        """Gates in the order in which they multiply, by what they gate (`GateName`).

        Args:
            x: The map, N×C×H×W.

        Returns:
            Tensors that broadcast to `x`: `channel` N×C×1×1, `height` N×C×H×1, `width` N×C×1×W, `spatial` N×1×H×W,
            `element` N×C×H×W.
        """
        raise NotImplementedError

    def attention_map(self, x: Tensor) -> Tensor:
        """The product of all gates, which multiplies `x`; its sides are 1 along axes that it does not depend on."""
        return product(self.gates(x))

    def forward(self, x: Tensor) -> Tensor:
        for gate in self.gates(x).values():
            x = x * gate.to(x.dtype)
        return x


class GatesInARow(Gate):
    """Gates one after the other, each computed from the output of the one before.

    A subclass assigns its parts as children, each a `Gate`, in the order in which they run.
    """

    def gates(self, x: Tensor) -> Mapping[str, Tensor]:
        found: dict[str, Tensor] = {}
        for part in cast("Any", self.children()):
            own = part.gates(x)
            found.update(own)
            for gate in own.values():
                x = x * gate.to(x.dtype)
        return found

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x
