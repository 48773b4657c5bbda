"""A tiny network, trained from random weights in seconds."""

from __future__ import annotations

import itertools

from torch import Tensor, nn


class Tiny(nn.Module):
    """Small convolutional network with group norm: without batch statistics, any batch size trains it alike."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        channels = (3, *widths)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(8, b), nn.ReLU())
                for a, b in itertools.pairwise(channels)
            )
        )
        # in timm's format, which says what modules are stages
        self.feature_info = [
            {"num_chs": width, "reduction": 2 ** (i + 1), "module": f"layers.{i}"} for i, width in enumerate(widths)
        ]
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(widths[-1], 1000)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pool(self.layers(x)).flatten(1))
        return logits


def tiny(widths: tuple[int, ...] = (16, 32, 64)) -> Tiny:
    """The backbone `tiny` of recipes.

    Args:
        widths: Channels of its three stages, multiples of 8.
    """
    return Tiny(tuple(widths))
