"""Optimiser of a stage, with the parameter groups that its settings ask for."""

from __future__ import annotations

from typing import Any

from torch import nn

import awb
from awb import AWBError
from awb.study import OptimizerSettings
from examples.chestxray14.training.networks import classifier_paths


def parameter_groups(model: nn.Module, settings: OptimizerSettings, lr: float) -> list[Any]:
    """Parameters of a network, in groups if layers differ in learning rate or norms have no weight decay.

    Args:
        model: The network.
        settings: Settings with `layer_decay` and `decay_norms`.
        lr: Learning rate of the blocks, the classifier and the backbone's last layer.

    Raises:
        AWBError: The layers of the network are not known.
    """
    if settings.layer_decay == 1 and settings.decay_norms:
        return list(model.parameters())
    head = classifier_paths(model) or None  # None: awb says that it knows none
    groups = awb.param_groups(model, lr, lr, settings.weight_decay, layer_decay=settings.layer_decay, head=head)
    layers = {group["lr"] for group in groups if group["name"].startswith("backbone layer")}
    if settings.layer_decay != 1 and len(layers) < 2:
        raise AWBError(f"layer_decay {settings.layer_decay:g}: the layers of {type(model).__name__} are not known")
    if settings.decay_norms:
        for group in groups:
            group["weight_decay"] = settings.weight_decay
    return groups


def require_possible(model: nn.Module, settings: OptimizerSettings) -> None:
    """Refuse, before any training, an optimiser that cannot be made for the network on this machine.

    Raises:
        AWBError: As in `parameter_groups`, or a package of the optimiser is missing.
    """
    parameter_groups(model, settings, 1.0)
    settings.require_available()
