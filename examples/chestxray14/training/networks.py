"""Networks of recipes: a backbone with a new classifier and attention blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import awb
from examples.chestxray14.recipes.model_settings import PART, ModelSettings
from examples.chestxray14.training.pretrained import load_packaged, load_torchvision
from examples.chestxray14.training.tiny import Tiny


class DenseNetWithoutFinalReLU(torchvision.models.DenseNet):
    """DenseNet121 of the report: torchvision's without the ReLU between the last norm and pooling."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), 1).flatten(1)
        logits: Tensor = self.classifier(x)
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
        if isinstance(settings.attention, str) and settings.init is not None:
            places: Any = settings.placement
            awb.attach_awb(model, places, attention=settings.attention, init=settings.init, input_size=image_size)
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
