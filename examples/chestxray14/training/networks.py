"""Networks of recipes: a backbone with a new classifier and attention blocks."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import awb
from examples.chestxray14.recipes.schema import PART, ModelSettings
from examples.chestxray14.training.pretrained import load_packaged, load_torchvision


class DenseNetWithoutFinalReLU(torchvision.models.DenseNet):
    """DenseNet121 of the report: torchvision's without the ReLU between the last norm and pooling."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), 1).flatten(1)
        logits: Tensor = self.classifier(x)
        return logits


class Tiny(nn.Module):
    """Small convolutional network with group norm: without batch statistics, any batch size trains it alike."""

    def __init__(self, num_classes: int = 1000, widths: tuple[int, ...] = (16, 32, 64)) -> None:
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
        self.classifier = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pool(self.layers(x)).flatten(1))
        return logits


def build_model(
    settings: ModelSettings, num_classes: int, image_size: int, seed: int, *, pretrained: bool | None = None
) -> nn.Module:
    """Network of a recipe, in train mode; its initial weights depend on the seed only.

    Args:
        settings: The recipe's settings of the model.
        num_classes: Number of logits.
        image_size: Side of the input in pixels.
        seed: Seed of the classifier, the blocks, and a backbone that is not pretrained.
        pretrained: Replaces the recipe's setting, for a caller that loads all weights itself.

    Raises:
        AWBError: The blocks cannot be attached there, or pretrained weights are not available.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _backbone(settings, settings.pretrained if pretrained is None else pretrained)
        awb.replace_head(model, num_classes, settings.dropout)
        if settings.attention is not None and settings.init is not None:
            awb.attach_awb(
                model, settings.placement, attention=settings.attention, init=settings.init, input_size=image_size
            )
    return model.train()


def freezable_parts() -> dict[str, Callable[[str], bool]]:
    """Parts of a network that a recipe may freeze, for `awb.study.freeze_parts`: predicates of parameter names."""
    # the classifier has this name in all of these networks, and `awb` is the child that attach_awb adds
    return {PART: lambda name: not (name.startswith("classifier.") or ".awb." in name)}


def _backbone(settings: ModelSettings, pretrained: bool) -> nn.Module:
    if settings.backbone == "tiny":
        return Tiny()
    if settings.backbone == "efficientnet_lite0":
        return load_packaged() if pretrained else timm.create_model("tf_efficientnet_lite0")
    model = load_torchvision(settings.backbone) if pretrained else torchvision.models.get_model(settings.backbone)
    if settings.final_relu:
        return model
    without = DenseNetWithoutFinalReLU(32, (6, 12, 24, 16), 64)
    without.load_state_dict(model.state_dict())
    return without
