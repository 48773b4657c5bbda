"""Networks that benchmarks compare: plain, or with blocks after all their stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import nn

import awb


def build_network(name: str, blocks: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a network of torchvision's with 14 classes and random weights, the same at every call.

    Args:
        name: Its name in torchvision.
        blocks: Arguments of `attach_awb`, for blocks after all stages; None for the plain network.
    """
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=14)
    return model if blocks is None else awb.attach_awb(model, "all", **blocks)
