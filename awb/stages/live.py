"""Whether the head can see a site: a class-token head never reads the patch tokens after the last block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from awb.classifier import find_classifier
from awb.stages.trace import Trace, copy_structure, elements
from awb.stages.types import Site


@torch.inference_mode(False)
def dead_sites(model: nn.Module, traced: Trace, sites: list[Site]) -> set[Site]:
    """The sites whose map has no effect on what the classifier reads.

    Only a map with prefix tokens, one beside other outputs, or one of a `features_only` model (which may return
    earlier features only) can be dead; other sites cost nothing. It is settled by one forward on random input and
    one backward from the features before the classifier (the classifier itself may start at zero) to the sites: a
    map whose gradient is exactly 0 is not read.

    Args:
        model: The model; its tensors are read, in a copy of its structure, and not changed.
        traced: Its trace.
        sites: Sites of `traced`.
    """
    features_only = hasattr(model, "feature_info") and not find_classifier(model)
    suspects = [s for s in sites if s.num_prefix_tokens > 0 or s.element is not None or features_only]
    if not suspects:
        return set()
    duplicate = copy_structure(model, _usable)
    duplicate.requires_grad_(False)
    maps: dict[Site, Tensor] = {}
    features: list[Tensor] = []
    for site in suspects:
        duplicate.get_submodule(site.module).register_forward_hook(_Keep(site, maps))
    for head in find_classifier(duplicate).values():
        head.register_forward_pre_hook(lambda _, args: features.append(args[0]))
    generator = torch.Generator().manual_seed(0)  # a seed of torch's own would reset every CUDA generator
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        device = next((p.device for p in duplicate.parameters()), torch.device("cpu"))
        inputs = torch.utils._pytree.tree_map_only(Tensor, lambda t: _random(t, device, generator), traced.inputs)
        kwargs = torch.utils._pytree.tree_map_only(Tensor, lambda t: _random(t, device, generator), dict(traced.kwargs))
        output = duplicate(*inputs, **kwargs)
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


def _random(tensor: Tensor, device: torch.device, generator: torch.Generator) -> Tensor:
    shape = (1, *tensor.shape[1:]) if tensor.ndim == 4 else tuple(tensor.shape)
    if tensor.is_floating_point():
        # on the tape, and no leaf: later layers may work in place
        return 1 * torch.randn(shape, generator=generator, device="cpu").to(device).requires_grad_()
    return torch.zeros(shape, dtype=tensor.dtype, device=device)
