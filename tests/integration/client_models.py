"""Small networks with blocks, as other libraries are given them, and what is asked of them."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

import awb
from tests.helpers import calibrate, perturb

SIZE = 160
IMAGES = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
SMALL = IMAGES[..., :64, :64].contiguous()
TOLERANCE = 1e-5  # of logits near 1: merged or offloaded weights are multiplied in another order


def network(name: str = "test_vit", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=5, **options).eval()
    calibrate(model, IMAGES)
    return model


def attached(name: str = "test_vit", **options: Any) -> nn.Module:
    model = awb.attach_awb(network(name, **options), "all")
    perturb(model)
    return model


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def number_that_train(model: nn.Module) -> int:
    return sum(p.requires_grad for p in awb.awb_parameters(model))
