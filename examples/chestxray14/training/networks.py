"""Networks of recipes: a backbone with a new classifier and attention blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import awb
from awb import AWBError
from awb.classifier import find_classifier
from awb.errors import did_you_mean, first_line
from examples.chestxray14.recipes.backbones import SHORT_NAMES, read_backbone
from examples.chestxray14.recipes.blocks import read_places
from examples.chestxray14.recipes.model_settings import PART, ModelSettings
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.training.libraries import build_timm, build_torchvision
from examples.chestxray14.training.own_functions import call, find_function, import_modules, takes
from examples.chestxray14.training.partner import Partner, load_partner, require_whole
from examples.chestxray14.training.pretrained import WITHOUT
from examples.chestxray14.training.weights_file import load_backbone


def build_model(
    settings: ModelSettings,
    num_classes: int,
    image_size: int,
    seed: int,
    *,
    pretrained: bool | None = None,
    weights: Path | None = None,
) -> nn.Module:
    """Network of a recipe, in train mode; its initial weights depend on the seed only.

    Args:
        settings: The recipe's settings of the model.
        num_classes: Number of logits.
        image_size: Side of the input in pixels.
        seed: Seed of the classifier, the blocks, and a backbone that is not pretrained.
        pretrained: Replaces the recipe's setting, for a caller that loads all weights itself.
        weights: File of weights for the backbone, in place of the pretrained ones that the recipe asks for.

    Raises:
        AWBError: The backbone cannot be built as the recipe says, the blocks cannot be attached there, or pretrained
            weights are not available.
    """
    import_modules(settings.imports)
    partner = None if settings.partner is None else load_partner(settings.partner)
    if weights is not None and not settings.pretrained:
        raise AWBError(f"--weights {weights}: the recipe begins without pretrained weights; set model.pretrained: true")
    wanted = settings.pretrained if pretrained is None else pretrained
    file = weights if wanted else None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, complete = _backbone(settings, num_classes, image_size, wanted and file is None, partner)
        if file is not None:
            load_backbone(model, file, settings.backbone)
        if not complete:
            _replace_head(model, settings, num_classes)
        if settings.attention is not None:
            _attach(model, settings, image_size)
        if settings.backbone not in SHORT_NAMES:
            _require_logits(model, settings, num_classes, image_size)
    return model.train()


def require_network(recipe: Recipe) -> None:
    """Build a network that is not one of the example's own, so that what cannot be built is said before data are read.

    Its weights are random. The example's own are left out: they are known, and building one takes seconds.

    Raises:
        AWBError: As in `build_model`, and where `frozen` names a part that is not known.
    """
    if recipe.model.backbone in SHORT_NAMES and not recipe.model.imports:
        return
    model = build_model(recipe.model, 2, recipe.data.image_size, 0, pretrained=False)
    freezable_parts(model, needed=any(stage.frozen for stage in recipe.stages))


def classifier_paths(model: nn.Module) -> list[str]:
    """Paths of the modules that turn features into logits; none if awb does not know them."""
    return [path for path, module in find_classifier(model).items() if any(True for _ in module.parameters())]


def freezable_parts(model: nn.Module, *, needed: bool = True) -> dict[str, Callable[[str], bool]]:
    """Parts of a network that a recipe may freeze, for `awb.study.freeze_parts`: predicates of parameter names.

    The backbone is everything but the blocks, the classifier, and what is frozen already, such as a partner: call this
    before anything is frozen.

    Args:
        model: The network.
        needed: A stage freezes a part; else a network whose classifier is not known has no parts.

    Raises:
        AWBError: No classifier is known, and a part is needed.
    """
    heads = classifier_paths(model)
    if not heads:
        if needed:
            raise AWBError(
                f"frozen: the {PART} is all but blocks and classifier, and {type(model).__name__} has no classifier "
                "that is known: call it fc, classifier, heads or head"
            )
        return {}
    new = tuple(f"{path}." for path in (*heads, *awb.awb_blocks(model)))
    fixed = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {PART: lambda name: name not in fixed and not name.startswith(new)}


def _backbone(
    settings: ModelSettings, num_classes: int, image_size: int, pretrained: bool, partner: Partner | None
) -> tuple[nn.Module, bool]:
    """The backbone, and whether it has the recipe's number of logits already."""
    backbone = read_backbone(settings.backbone, settings.weights)
    if backbone.library == "timm":
        return build_timm(backbone, settings, image_size, pretrained), False
    if backbone.library == "torchvision":
        return build_torchvision(backbone, settings, image_size, pretrained), False
    return _own(backbone.name, settings, num_classes, image_size, pretrained, partner)


def _own(
    name: str, settings: ModelSettings, num_classes: int, image_size: int, pretrained: bool, partner: Partner | None
) -> tuple[nn.Module, bool]:
    function = find_function(name)
    complete = takes(function, "num_classes")
    given: dict[str, tuple[Any, Any, str]] = {
        "pretrained": (pretrained, False, WITHOUT),
        "weights": (settings.weights, None, "leave out model.weights"),
        "drop_path": (settings.drop_path, 0.0, "leave out model.drop_path"),
        "partner": (partner, None, "leave out model.partner"),
        "image_size": (image_size, image_size, ""),
        "num_classes": (num_classes, num_classes, ""),
        # else it is in the classifier that replaces the function's
        "dropout": (settings.dropout, 0.0 if complete else settings.dropout, "set model.dropout to 0"),
    }
    try:
        model = call(name, function, settings.backbone_options, given)
    except ImportError as error:
        raise AWBError(f"no weights of {settings.backbone}: {error}; or train without them: {WITHOUT}") from None
    if partner is not None:
        require_whole(model, partner)
    return model, complete


def _replace_head(model: nn.Module, settings: ModelSettings, num_classes: int) -> None:
    try:
        awb.replace_head(model, num_classes, settings.dropout)
    except AWBError as error:
        remedy = "; or set model.dropout to 0" if "no dropout" in str(error) else ""
        raise AWBError(f"{settings.backbone}: {error}{remedy}") from None


def _attach(model: nn.Module, settings: ModelSettings, image_size: int) -> None:
    body = model
    if settings.body is not None:
        paths = dict(model.named_modules())
        if settings.body not in paths:
            raise AWBError(f"model.body: no module {settings.body!r}{did_you_mean(settings.body, paths)}")
        body = paths[settings.body]
    kinds: dict[str, Any] = dict(settings.options)
    attention = settings.named_attention
    if isinstance(attention, str):
        kinds["attention"] = attention
    assert settings.init is not None
    places = read_places(settings.placement, attention)
    awb.attach_awb(body, places, init=settings.init, input_size=image_size, **kinds)


@torch.no_grad()
def _require_logits(model: nn.Module, settings: ModelSettings, num_classes: int, image_size: int) -> None:
    """Refuse a network that does not turn the recipe's images into as many logits as there are classes."""
    images = torch.zeros(1, 3, image_size, image_size)
    try:
        logits = model.eval()(images)
    except Exception as error:  # whatever a layer makes of a shape that it was not built for
        raise AWBError(
            f"{settings.backbone} cannot take images of 3×{image_size}×{image_size} ({first_line(error)}): see "
            "data.image_size and model.backbone_options"
        ) from error
    expected = 1, num_classes
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        what = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise AWBError(f"{settings.backbone} returns {what} for one image; expected logits, {expected}")
