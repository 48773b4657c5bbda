"""Replace the classifier, for another number of classes."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from awb.attach import awb_blocks
from awb.classifier import AUXILIARY, find_classifier
from awb.errors import AWBError, require_module
from awb.private_apis import children


def replace_head(model: nn.Module, num_classes: int, dropout: float = 0.0) -> nn.Module:
    """Replace the classifier by a fresh one: global pooling, dropout, linear; before or after attaching.

    timm's models do it themselves (`reset_classifier`). torchvision's VGG and AlexNet lose their 4096-wide
    layers and SqueezeNet its convolution; elsewhere the last linear layer is replaced, and the pooling and norms
    before it stay. Networks with a class-token head keep classifying from that token.

    Args:
        model: A torchvision or timm model, or one whose `fc`, `classifier`, `heads` or `head` ends in a linear.
        num_classes: Number of logits.
        dropout: Probability of the dropout before the linear layer.

    Returns:
        The model.

    Raises:
        AWBError: A number is out of range, or no classifier is found.
    """
    require_module(model)
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 1:
        raise AWBError(f"num_classes={num_classes!r}: expected a positive int")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise AWBError(f"dropout={dropout!r}: expected a probability in [0, 1)")
    if hasattr(model, "reset_classifier"):
        _reset_timm(model, num_classes, dropout)
    elif type(model).__name__ in ("VGG", "AlexNet"):
        model.avgpool = nn.AdaptiveAvgPool2d(1)
        model.classifier = _linear(_last_conv(model).out_channels, _last_conv(model).weight, num_classes, dropout)
    elif type(model).__name__ == "SqueezeNet":
        conv = next(m for m in model.get_submodule("classifier").modules() if isinstance(m, nn.Conv2d))
        linear = _linear(conv.in_channels, conv.weight, num_classes, dropout)
        model.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    else:
        _replace_last_linear(model, num_classes, dropout)
    if isinstance(getattr(model, "num_classes", None), int):
        model.num_classes = num_classes  # type: ignore[assignment]
    for head in find_classifier(model).values():
        head.train(model.training)
    return model


def _reset_timm(model: Any, num_classes: int, dropout: float) -> None:
    reference = next(model.parameters())
    if "drop_rate" in vars(model):  # read at run time, or by the head that reset_classifier makes
        model.drop_rate = dropout
    model.reset_classifier(num_classes)
    head = getattr(model, "head", None)
    drops = [getattr(model, "head_drop", None), getattr(head, "drop", None)]
    modules = [drop for drop in drops if isinstance(drop, nn.Dropout)]
    for drop in modules:
        drop.p = dropout
    if dropout and not modules and "drop_rate" not in vars(model):
        raise AWBError(
            f"{type(model).__name__} has no dropout before its classifier; build it with drop_rate={dropout}"
        )
    for classifier in find_classifier(model).values():
        classifier.to(device=reference.device, dtype=reference.dtype)


def _replace_last_linear(model: nn.Module, num_classes: int, dropout: float) -> None:
    heads = list(find_classifier(model))
    if not heads:
        raise AWBError(f"{type(model).__name__} has no fc, classifier, heads or head; replace its last layer yourself")
    auxiliary = [name for name in AUXILIARY if isinstance(getattr(model, name, None), nn.Module)]
    paths = [_last_linear(model, name) for name in (*heads, *auxiliary)]
    for path in paths:
        parent_path, _, child = path.rpartition(".")
        parent = model.get_submodule(parent_path)
        rate = 0.0 if parent_path in auxiliary else dropout
        existing = None if parent_path in auxiliary else _dropout_before(parent, child)
        if existing is not None:
            existing.p, rate = dropout, 0.0
        old = model.get_submodule(path)
        assert isinstance(old, nn.Linear)
        setattr(parent, child, _linear(old.in_features, old.weight, num_classes, rate))


def _last_linear(model: nn.Module, name: str) -> str:
    linears = [path for path, m in model.get_submodule(name).named_modules() if isinstance(m, nn.Linear)]
    if not linears:
        raise AWBError(f"{type(model).__name__}.{name} has no linear layer; replace its last layer yourself")
    return f"{name}.{linears[-1]}" if linears[-1] else name


def _dropout_before(parent: nn.Module, child: str) -> nn.Dropout | None:
    """Dropout just before a child: the previous layer in a Sequential, else the parent's child `dropout`."""
    layers = children(parent)
    names = list(layers)
    previous = names[names.index(child) - 1] if names.index(child) else ""
    dropout = layers.get(previous if isinstance(parent, nn.Sequential) else "dropout")
    return dropout if isinstance(dropout, nn.Dropout) else None


def _linear(width: int, like: Tensor, num_classes: int, dropout: float) -> nn.Module:
    """Fresh linear layer, after dropout if there is any, on the device and in the dtype of a weight."""
    linear = nn.Linear(width, num_classes, device=like.device, dtype=like.dtype)
    return nn.Sequential(nn.Dropout(dropout), linear) if dropout else linear


def _last_conv(model: nn.Module) -> nn.Conv2d:
    inside = {id(m) for block in awb_blocks(model).values() for m in block.modules()}
    return [m for m in model.modules() if isinstance(m, nn.Conv2d) and id(m) not in inside][-1]
