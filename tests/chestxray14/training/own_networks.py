"""Networks as users write them, for recipes with `own:`."""

from __future__ import annotations

import timm
from torch import Tensor, cat, nn


class Wrapped(nn.Module):
    """A backbone inside another module, and a part of one's own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = timm.create_model("test_resnet", num_classes=0)
        self.neck = nn.Linear(self.body.num_features, width)
        self.classifier = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.neck(self.body(x)).relu())


def wrapped(width: int = 8) -> nn.Module:
    return Wrapped(width)


class Beside(nn.Module):
    """A network beside a partner."""

    def __init__(self, partner: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.partner = partner
        self.body = timm.create_model("test_resnet", num_classes=0)
        self.classifier = nn.Linear(self.body.num_features + num_classes, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(cat([self.body(x), self.partner(x)], 1))


def beside(partner: nn.Module, num_classes: int) -> nn.Module:
    return Beside(partner, num_classes)


def torn(partner: nn.Module, num_classes: int) -> nn.Module:
    """A part of the partner is outside of it."""
    network = Beside(partner, num_classes)
    network.again = partner.network.get_submodule("layer1")  # type: ignore[attr-defined]
    return network


def whole(num_classes: int, dropout: float = 0.0) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.LazyLinear(num_classes))


def no_module() -> str:
    return "a network"


def two_outputs() -> nn.Module:
    class Two(Wrapped):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            logits = super().forward(x)
            return logits, logits

    return Two(8)


def in_a_row(num_classes: int) -> nn.Module:
    """A network whose classifier has no name that is known."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)
    )
