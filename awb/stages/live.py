"""Whether a model reads a site's map: a class-token head never reads the patch tokens after the last block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from awb.classifier import find_classifier
from awb.stages.trace import Trace, copy_structure, elements
from awb.stages.types import Site


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

    The graph is that of a forward on meta tensors, so no weight is read. Where the outputs have none (they are
    indices, or made under `no_grad`), nothing is known and nothing is dead.
    """
    starts: dict[Any, Site] = {}
    hooks = []
    for site in sites:
        module = traced.model.get_submodule(site.module)
        hooks.append(module.register_forward_hook(_Start(site, starts), prepend=True))
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch.device("meta"):
            args, kwargs = torch.utils._pytree.tree_map_only(Tensor, _on_the_tape, (traced.inputs, traced.kwargs))
            output = traced.model(*args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()
    waiting = [t.grad_fn for t in torch.utils._pytree.tree_leaves(output) if isinstance(t, Tensor) and t.grad_fn]
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
        output = _on_the_tape(output)
        self.starts[output.grad_fn] = self.site
        return output


def _on_the_tape(tensor: Tensor) -> Tensor:
    """A copy with a node in the graph of its own; no leaf, since later layers may work in place."""
    if not tensor.is_floating_point():
        return tensor
    return (tensor if tensor.requires_grad else tensor.detach().requires_grad_()).clone()


def _with_zero_gradient(model: nn.Module, traced: Trace, suspects: list[Site]) -> set[Site]:
    """The sites whose map, less its prefix tokens, gets a gradient of exactly 0.

    One forward on random input and one backward from the features before the classifier (the classifier itself
    may start at zero) to the sites.
    """
    if not suspects:
        return set()
    duplicate = with_values(model)
    maps: dict[Site, Tensor] = {}
    features: list[Tensor] = []
    for site in suspects:
        duplicate.get_submodule(site.module).register_forward_hook(_Keep(site, maps))
    for head in find_classifier(duplicate).values():
        head.register_forward_pre_hook(lambda _, args: features.append(args[0]))
    generator = torch.Generator().manual_seed(0)  # a seed of torch's own would reset every CUDA generator
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        output = run_on_noise(duplicate, traced, generator)
        ends = features or [t for _, t in elements(output)]
        # random weights, since a sum over a normalised axis is constant
        weights = [torch.randn(t.shape, generator=generator, device="cpu").to(t) for t in ends]
        score = torch.stack([(t * w).sum() for t, w in zip(ends, weights, strict=True)]).sum()
        gradients = torch.autograd.grad(score, list(maps.values()), allow_unused=True)
    return {
        site
        for site, gradient in zip(maps, gradients, strict=True)
        if gradient is None or not gradient[:, site.num_prefix_tokens :].any()
    }


def with_values(model: nn.Module) -> nn.Module:
    """A copy of the model's structure with usable values, in eval mode, its parameters off the tape."""
    return copy_structure(model, _usable).requires_grad_(False)


def run_on_noise(duplicate: nn.Module, traced: Trace, generator: torch.Generator) -> Any:
    """The output of a copy on random input of the traced shapes, one image at a time."""
    device = next((p.device for p in duplicate.parameters()), torch.device("cpu"))
    alone = sum(isinstance(t, Tensor) for t in torch.utils._pytree.tree_leaves((traced.inputs, traced.kwargs))) == 1
    args, kwargs = torch.utils._pytree.tree_map_only(
        Tensor, lambda t: _random(t, device, generator, alone), (traced.inputs, dict(traced.kwargs))
    )
    return duplicate(*args, **kwargs)


class _Keep:
    """Remember a site's map, put on the autograd tape if the input's way there is cut."""

    def __init__(self, site: Site, maps: dict[Site, Tensor]) -> None:
        self.site, self.maps = site, maps

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        tensor = dict(elements(output))[self.site.element]
        self.maps[self.site] = tensor if tensor.requires_grad else tensor.requires_grad_()


def _usable(tensor: Tensor) -> Tensor:
    """The tensor itself, as float32 with something in it: half precision underflows, zero gates hide a path."""
    if not tensor.is_floating_point():
        return torch.zeros_like(tensor, device="cpu") if tensor.is_meta else tensor.detach()
    if tensor.is_meta or not tensor.any():
        return _noise(tensor.shape).to("cpu" if tensor.is_meta else tensor.device)
    return tensor.detach().float()


def _noise(shape: torch.Size) -> Tensor:
    """Small random values, each row the one before moved on by one: a model of billions of parameters needs few."""
    if not shape:
        return torch.full((), 0.05, device="cpu")
    row = shape[1:].numel()
    generator = torch.Generator().manual_seed(shape.numel())
    values = 0.05 * torch.randn(shape[0] + row, generator=generator, device="cpu")  # whatever the default device is
    return values.as_strided(shape, (1, *torch.empty(shape[1:], device="meta").stride()))


def _random(tensor: Tensor, device: torch.device, generator: torch.Generator, alone: bool) -> Tensor:
    # beside other tensors the batch has to stay what it is
    shape = (1, *tensor.shape[1:]) if tensor.ndim == 4 and alone else tuple(tensor.shape)
    if tensor.is_floating_point():
        # on the tape, and no leaf: later layers may work in place
        return 1 * torch.randn(shape, generator=generator, device="cpu").to(device).requires_grad_()
    return torch.zeros(shape, dtype=tensor.dtype, device=device)
