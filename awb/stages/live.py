"""Whether a model reads a site's map: a class-token head never reads the patch tokens after the last block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from awb.classifier import find_classifier
from awb.stages.copying import noise_like
from awb.stages.on_tape import on_the_tape, run_on_tape, usable_copy
from awb.stages.tensors import tensors_in
from awb.stages.trace import Trace
from awb.stages.types import Site
from awb.stages.watch import elements


@torch.inference_mode(False)
def dead_sites(model: nn.Module, traced: Trace, sites: list[Site]) -> set[Site]:
    """The sites whose map has no effect on what the model returns.

    Of a map with prefix tokens, one beside other outputs, or one of a `features_only` model (which may return
    earlier features only), a part may be read and the rest not: values settle it. Elsewhere it is enough to see
    whether a gradient finds a way.

    Args:
        model: The model; its tensors are read, in a copy of its structure, and not changed.
        traced: Its trace.
        sites: Sites of `traced`.
    """
    features_only = hasattr(model, "feature_info") and not find_classifier(model)
    in_part = [s for s in sites if s.num_prefix_tokens > 0 or s.element is not None or features_only]
    whole = [s for s in sites if s not in in_part]
    return _with_zero_gradient(model, traced, in_part) | _unreachable(traced, whole)


def _unreachable(traced: Trace, sites: list[Site]) -> set[Site]:
    """The sites to which the autograd graph of the outputs has no way: the model throws their map away.

    The graph is that of a forward of the traced copy, so on meta no weight is read. Where the outputs have none (they
    are indices, or made under `no_grad`), nothing is known and nothing is dead.
    """
    starts: dict[Any, Site] = {}
    hooks = []
    for site in sites:
        module = traced.model.get_submodule(site.module)
        hooks.append(module.register_forward_hook(_Start(site, starts), prepend=True))
    try:
        with traced.copied.running(grad=True):
            output = run_on_tape(traced.copied, traced)
    finally:
        for hook in hooks:
            hook.remove()
    waiting = [t.grad_fn for t in tensors_in(output) if t.grad_fn]
    if not waiting:
        return set()
    seen = set(waiting)
    while waiting:
        following = {node for node, _ in waiting.pop().next_functions if node is not None} - seen
        seen |= following
        waiting.extend(following)
    return {site for node, site in starts.items() if node not in seen}


class _Start:
    """Note the node of the graph that stands for what comes after a site."""

    def __init__(self, site: Site, starts: dict[Any, Site]) -> None:
        self.site, self.starts = site, starts

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        # a module that is itself under no_grad has its hooks outside; inside a part that is, they see no gradients
        if not torch.is_grad_enabled():
            self.starts[object()] = self.site
            return output
        output = on_the_tape(output)
        self.starts[output.grad_fn] = self.site
        return output


def _with_zero_gradient(model: nn.Module, traced: Trace, suspects: list[Site]) -> set[Site]:
    """The sites whose map, less its prefix tokens, gets a gradient of exactly 0.

    One forward on random input and one backward to the sites, from all that the model returns. Where none of that has
    a gradient (it is indices, say), from what the classifier is given; where that has none, nothing is known.
    """
    if not suspects:
        return set()
    copied = usable_copy(model, traced)
    maps: dict[Site, Tensor] = {}
    features: list[Any] = []
    for site in suspects:
        copied.model.get_submodule(site.module).register_forward_hook(_Keep(site, maps), prepend=True)
    for head in find_classifier(copied.model).values():
        head.register_forward_pre_hook(lambda _, *given: features.append(given), with_kwargs=True)
    generator = torch.Generator().manual_seed(0)  # a seed of torch's own would reset every CUDA generator
    with copied.running(grad=True):
        output = run_on_tape(copied, traced, generator)
        ends = _with_gradient(output) or _with_gradient(features)
        if not ends:
            return set()
        # random weights, since a sum over a normalised axis is constant
        score = torch.stack([(t * noise_like(t, t.device, generator)).sum().to(copied.device) for t in ends]).sum()
        gradients = torch.autograd.grad(score, list(maps.values()), allow_unused=True)
    return {
        site
        for site, gradient in zip(maps, gradients, strict=True)
        if gradient is None or not gradient[:, site.num_prefix_tokens :].any()
    }


def _with_gradient(tree: Any) -> list[Tensor]:
    return [t for t in tensors_in(tree) if t.requires_grad and t.is_floating_point()]


class _Keep:
    """Remember a site's map, put on the autograd tape if the input's way there is cut."""

    def __init__(self, site: Site, maps: dict[Site, Tensor]) -> None:
        self.site, self.maps = site, maps

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        tensor = dict(elements(output))[self.site.element]
        self.maps[self.site] = tensor if tensor.requires_grad else tensor.requires_grad_()
