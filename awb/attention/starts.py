"""Values of parameters at which a kind returns its input."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from awb.attention.gate import Gate


@torch.no_grad()
def zero(*layers: Any) -> None:
    """Set the weights of layers, and the biases of those that have one, to 0."""
    for layer in layers:
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()


class PointwiseGate(Gate):
    """A gate whose map is the output of a last 1×1 convolution with a bias, `pointwise`."""

    @torch.no_grad()
    def reset_identity(self) -> None:
        """Make the map exactly 1: pointwise weight 0 and bias 1.

        The pointwise weight gets a gradient at the first step, what is before it from the second.
        """
        last = self.pointwise
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        last.weight.zero_()
        last.bias.fill_(1.0)
