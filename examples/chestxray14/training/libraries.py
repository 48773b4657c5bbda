"""Backbones as timm and torchvision build them; what they refuse becomes one sentence."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import timm
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from awb import AWBError
from awb.errors import did_you_mean, first_line
from examples.chestxray14.recipes.backbones import Backbone
from examples.chestxray14.recipes.model_settings import ModelSettings
from examples.chestxray14.training.pretrained import explained, timm_source, url_source

_NO_ARGUMENT = re.compile(
    r"(\w+)(?:\.__init__)?\(\) got (?:an unexpected|multiple values for) keyword argument '(\w+)'"
)
_SIZES = ("img_size", "image_size", "input_size")
_RATES = ("drop_path_rate", "stochastic_depth_prob")


class DenseNetWithoutFinalReLU(torchvision.models.DenseNet):
    """DenseNet121 of the report: torchvision's without the ReLU between the last norm and pooling."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), 1).flatten(1)
        logits: Tensor = self.classifier(x)
        return logits


def build_timm(backbone: Backbone, settings: ModelSettings, image_size: int, pretrained: bool) -> nn.Module:
    """A network of timm, with its own classifier.

    Raises:
        AWBError: It cannot be built with these options or for this image size, or its weights cannot be had.
    """
    name = backbone.name if backbone.weights is None else f"{backbone.name}.{backbone.weights}"
    config = timm.get_pretrained_cfg(name)
    assert config is not None
    arguments = dict(settings.backbone_options)
    if settings.drop_path:
        arguments["drop_path_rate"] = settings.drop_path
    own_size = config.input_size[-1]
    if config.fixed_input_size and image_size != own_size:
        arguments["img_size"] = image_size
    weights = explained(settings.backbone, timm_source(config)) if pretrained else nullcontext()
    home = timm.model_entrypoint(backbone.name).__module__
    with _refusals(settings.backbone, home, image_size, own_size), weights:
        return timm.create_model(name, pretrained=pretrained, **arguments)


def build_torchvision(backbone: Backbone, settings: ModelSettings, image_size: int, pretrained: bool) -> nn.Module:
    """A network of torchvision, with its own classifier and without auxiliary ones.

    Raises:
        AWBError: As in `build_timm`.
    """
    name = backbone.name
    tags = torchvision.models.get_model_weights(name)
    weights = tags[backbone.weights or "DEFAULT"] if settings.pretrained else None
    arguments = dict(settings.backbone_options)
    if settings.drop_path:
        arguments["stochastic_depth_prob"] = settings.drop_path
    if name.startswith("vit_"):
        arguments["image_size"] = image_size
    if name.startswith("maxvit"):
        arguments["input_size"] = image_size, image_size
    if name in ("googlenet", "inception_v3"):  # whatever is loaded later, the same normalisation
        arguments.setdefault("transform_input", settings.pretrained)
        if not pretrained:
            arguments.setdefault("init_weights", True)
    download: AbstractContextManager[None] = nullcontext()
    if pretrained:
        assert weights is not None
        download = explained(settings.backbone, url_source(weights.url))
    own_size = 224 if weights is None else weights.transforms().crop_size[0]
    home = torchvision.models.get_model_builder(name).__module__
    with _refusals(settings.backbone, home, image_size, own_size), download:
        model = torchvision.models.get_model(name, weights=weights if pretrained else None, **arguments)
    if getattr(model, "aux_logits", False):
        model.aux_logits = False
        model.AuxLogits = model.aux1 = model.aux2 = None
    return model if settings.final_relu else _without_final_relu(model)


def _without_final_relu(model: nn.Module) -> nn.Module:
    without = DenseNetWithoutFinalReLU(32, (6, 12, 24, 16), 64)
    without.load_state_dict(model.state_dict())
    return without


@contextmanager
def _refusals(name: str, home: str, image_size: int, own_size: int) -> Iterator[None]:
    """Turn a library's errors at building a network into one sentence.

    Args:
        name: The recipe's name of the backbone.
        home: Module of the backbone's classes.
        image_size: Side of the recipe's images.
        own_size: Side of the images that the network was made for.
    """
    try:
        yield
    except AWBError:
        raise
    except (TypeError, ValueError, AssertionError, RuntimeError, KeyError, NotImplementedError) as error:
        unknown = _NO_ARGUMENT.search(str(error))
        argument = unknown[2] if unknown else ""
        if unknown and argument in _RATES:
            raise AWBError(f"{name} has no drop path to set; leave out model.drop_path") from None
        if argument in _SIZES or (not argument and image_size != own_size):
            reason = "" if unknown else f" ({first_line(error)})"
            raise AWBError(
                f"{name} cannot be built for images of {image_size} pixels{reason}; set data.image_size to {own_size}"
            ) from None
        if unknown:
            near = did_you_mean(argument, _options(vars(sys.modules[home]), unknown[1]))
            raise AWBError(f"{name} has no option {argument!r}{near}; see model.backbone_options") from None
        raise AWBError(f"{name} cannot be built: {type(error).__name__}, {first_line(error)}") from None


def _options(names: Mapping[str, Any], of: str) -> list[str]:
    """Parameters of a class or function by its name; none if it is not there."""
    return list(inspect.signature(names[of]).parameters) if of in names else []
