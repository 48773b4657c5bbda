"""A CNN, a Swin and a ViT, each small, with a non-identity block after every stage."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

import awb
from tests.helpers import perturb, wake_classifier

SIZES = {"test_resnet": 64, "swin_tiny_patch4_window7_224": 64, "test_vit": 160}
NAMES = tuple(SIZES)
_SMALL: dict[str, dict[str, Any]] = {
    "swin_tiny_patch4_window7_224": {
        "img_size": 64, "window_size": 2, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 3, 6), "embed_dim": 24,
    }
}  # fmt: skip


def network(name: str) -> nn.Module:
    """A network without blocks, in eval mode."""
    model = timm.create_model(name, pretrained=False, **_SMALL.get(name, {})).eval()
    wake_classifier(model)
    return model


def attached(name: str) -> nn.Module:
    """The network with blocks that change its logits."""
    model = awb.attach_awb(network(name), "all")
    perturb(model)
    return model


def batch(name: str, size: int) -> Tensor:
    """Random images of the network's size, the same for the same arguments."""
    generator = torch.Generator().manual_seed(size)
    return torch.randn(size, 3, SIZES[name], SIZES[name], generator=generator)
