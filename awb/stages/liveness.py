"""Liveness of sites: a site is live if the model reads its map; a class-token head ignores the last patch tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from awb.classifier import find_classifier
from awb.places import Site
from awb.stages.calls import elements
from awb.stages.gradient_run import on_the_tape, run_on_tape, usable_copy
from awb.stages.randomness import noise_like
from awb.stages.tensors import tensors_in
from awb.stages.trace import Trace


@torch.inference_mode(False)
def dead_sites(model: nn.Module, traced: Trace, sites: list[Site]) -> set[Site]:
    """Find the sites whose map has no effect on what the model returns.

    A map with prefix tokens, a map beside other outputs, or one of a `features_only` model (which may return earlier
    features only) may be read in part: there the values of a gradient decide. Elsewhere it is enough that a gradient
    finds a way.

    Args:
        model: The model; its tensors are read, in a copy of its structure, and not changed.
        traced: The trace of the model.
        sites: Sites in `traced`.
    """
    features_only = hasattr(model, "feature_info") and not find_classifier(model)
    in_part = [s for s in sites if s.num_prefix_tokens > 0 or s.element is not None or features_only]
    whole = [s for s in sites if s not in in_part]
    return _with_zero_gradient(model, traced, in_part) | _unreachable(traced, whole)


def _unreachable(traced: Trace, sites: list[Site]) -> set[Site]:
    """Sites that the autograd graph of the outputs does not reach: the model discards their map.

    The graph is that of a forward of the traced copy, so on meta no weight is read. Where the outputs have none (they
    are indices, or made under `no_grad`), nothing is known and nothing is dead.
    """
    if not sites:
        return set()
    starts: dict[Any, Site] = {}
    hooks = []
    for site in sites:
        module = traced.model.get_submodule(site.module)
        hooks.append(module.register_forward_hook(_NoteStart(site, starts), prepend=True))
    try:
        with traced.copied.running(grad=True):
            output = run_on_tape(traced.copied, traced)
    finally:
        for hook in hooks:
            hook.remove()
    reached = [t.grad_fn for t in tensors_in(output) if t.grad_fn]
    if not reached:
        return set()
    seen = set(reached)
    while reached:
        following = {node for node, _ in reached.pop().next_functions if node is not None} - seen
        seen |= following
        reached.extend(following)
    return {site for node, site in starts.items() if node not in seen}


class _NoteStart:
    """Hook that notes the graph node with which the computation after a site begins."""

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
    """Sites whose map, without its prefix tokens, gets a gradient of exactly 0.

    One forward pass on random input, and one backward pass from everything that the model returns. If nothing of that
    has a gradient (indices, for example), the backward pass starts at the input of the classifier; if that has none
    either, nothing is known and nothing is dead.
    """
    if not suspects:
        return set()
    copied = usable_copy(model, traced)
    maps: dict[Site, Tensor] = {}
    features: list[Any] = []
    for site in suspects:
        copied.model.get_submodule(site.module).register_forward_hook(_KeepMap(site, maps), prepend=True)
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


class _KeepMap:
    """Hook that keeps a site's map, put on the autograd tape if it is not on it."""

    def __init__(self, site: Site, maps: dict[Site, Tensor]) -> None:
        self.site, self.maps = site, maps

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        tensor = dict(elements(output))[self.site.element]
        self.maps[self.site] = tensor if tensor.requires_grad else tensor.requires_grad_()
