"""The block around a gate that VAN, SegNeXt and LSKNet share: 1×1, GELU, gate, 1×1, and a shortcut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from awb.attention.precision import cleaned, finite
from awb.attention.starts import zero


class ProjectedGate(nn.Module):
    """x + project_out(gate(GELU(project_in(x)))).

    Args:
        channels: Number of channels of the N×C×H×W maps.
        make_gate: Builds the gate, after the first projection and before the last.
    """

    def __init__(self, channels: int, make_gate: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.project_in = nn.Conv2d(channels, channels, 1)
        self.activation = nn.GELU()
        self.add_module(self._child(), make_gate())
        self.project_out = nn.Conv2d(channels, channels, 1)

    @staticmethod
    def _child() -> str:
        """Name of the gate among the children, with which its state-dict keys begin."""
        return "gate"

    @property
    def _gate(self) -> Any:
        return getattr(self, self._child())

    def attention_map(self, x: Tensor) -> Tensor:
        """The gate's N×C×H×W map, which multiplies the projected input."""
        shown: Tensor = self._gate.attention_map(self._projected(x))
        return shown

    def forward(self, x: Tensor) -> Tensor:
        update: Tensor = self.project_out(finite(self._gate(self._projected(x))))
        return x + update

    def _projected(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(finite(self.project_in(cleaned(x))))
        return y

    def reset_identity(self) -> None:
        """Make the block return its input: the branch beside the shortcut ends in zeros."""
        zero(self.project_out)
