"""Depth of each parameter in a network, in layers from the stem."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from torch import nn

from awb.known_backbones import is_known_backbone

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def depths(model: nn.Module, among: set[int]) -> dict[int, int]:
    """Layer number of each parameter, by the parameter's id.

    A layer is what timm groups (`group_matcher`), where the network or one inside it is timm's. Elsewhere it is an
    element of a stack (modules of one class, one after another), or a module beside stacks. What has no matrix or
    kernel, such as a norm or a token, belongs to the layer before it.

    Args:
        model: The network.
        among: Ids of the parameters that count; the others (the blocks' and the head's) are left out.
    """
    layers: list[list[nn.Parameter]] = []
    open_ended = True  # no kernel has come yet
    for found in _layers(model, root=True):
        layer = {name: parameter for name, parameter in found.items() if id(parameter) in among}
        has_kernel = any(parameter.ndim > 1 and name.endswith("weight") for name, parameter in layer.items())
        if not layers or (has_kernel and not open_ended):
            layers.append([])
        layers[-1].extend(layer.values())
        open_ended = open_ended and not has_kernel
    return {id(parameter): number for number, layer in enumerate(layers) for parameter in layer}


def _layers(module: nn.Module, root: bool = False) -> Iterator[dict[str, nn.Parameter]]:
    """Parameters of one layer after another, by name."""
    if hasattr(type(module), "group_matcher"):
        yield from _timm_layers(module)
    elif root or isinstance(module, _CONTAINERS) or is_known_backbone(module) or any(map(_is_stack, module.modules())):
        yield dict(module.named_parameters(recurse=False))
        for child in module.children():
            yield from _layers(child)
    else:
        yield dict(module.named_parameters())


def _timm_layers(model: Any) -> Iterator[dict[str, nn.Parameter]]:
    from timm.models import group_parameters

    numbers = group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    parameters = sorted(model.named_parameters(), key=lambda pair: numbers[pair[0]])
    for _, layer in itertools.groupby(parameters, key=lambda pair: numbers[pair[0]]):
        yield dict(layer)


def _is_stack(module: nn.Module) -> bool:
    kinds = [type(element) for element in module.children()]
    alike = len(kinds) > 1 and len(set(kinds)) == 1 and not issubclass(kinds[0], _CONTAINERS)
    return alike and isinstance(module, _CONTAINERS)
