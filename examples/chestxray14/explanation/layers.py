"""Layer of a network at which a map is made."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import awb
from awb import AWBError, Site
from awb.errors import did_you_mean
from awb.layout import Layout, from_nchw, to_nchw

LAST = "last"
_INPUT_NORMS = ("norm1", "ln_1", "norm")  # of a transformer's block, in timm and torchvision; the first that is live


@dataclass(frozen=True)
class Layer:
    """A module, and how its output is a map.

    Attributes:
        path: Path of the module.
        layout: N×C×H×W, N×H×W×C, or tokens.
        grid: Height and width of the grid of tokens.
        num_prefix_tokens: Number of tokens in front of the grid.
        order: For each token, its position in raster order; empty where that is the order.
    """

    path: str
    layout: Layout = "NCHW"
    grid: tuple[int, int] = (0, 0)
    num_prefix_tokens: int = 0
    order: tuple[int, ...] = ()

    @contextmanager
    def module(self, model: nn.Module) -> Iterator[nn.Module]:
        """Module whose output is the layer's, as N×C×H×W; what the network itself computes stays the same."""
        host = model.get_submodule(self.path)
        if self.layout == "NCHW":
            yield host
            return
        view = nn.Identity()
        order = torch.tensor(self.order) if self.order else None
        raster = None if order is None else order.argsort()

        def through_view(host: nn.Module, args: Any, output: Tensor) -> Tensor:
            seen = view(to_nchw(output, self.layout, self.grid, self.num_prefix_tokens, raster))
            return from_nchw(seen, output, self.layout, self.num_prefix_tokens, order)

        handle = host.register_forward_hook(through_view)
        try:
            yield view
        finally:
            handle.remove()


def find_layer(model: nn.Module, where: int | str = LAST, input_size: int | None = None) -> Layer:
    """Layer from whose output a map is made.

    Args:
        model: Network, with blocks or without.
        where: `"last"`: the last map before pooling, where `attach_awb(model, "after")` would put a block; where the
            head reads the class token only, the input norm of the last block, whose patch tokens still reach it. A
            number: the block of that stage. Or a path: a module with a block behind it gives the block's output.
        input_size: Side of the input in pixels; by default the size that the model was built for.

    Raises:
        AWBError: No such module or block, a network that awb does not know (then name a path), or an output that is
            not one map.
    """
    if isinstance(where, int):
        return _at_block(model, where)
    bare = _without_blocks(model)
    if where == LAST:
        return _layer(_last_site(bare, input_size))
    paths = dict(model.named_modules())
    if where not in paths:
        raise AWBError(f"no module {where!r}{did_you_mean(where, paths)}; or {LAST!r}, or the number of a stage")
    if where not in dict(bare.named_modules()):  # a block, or a part of one: these run on N×C×H×W
        return Layer(where)
    (planned,) = awb.plan_awb(bare, where, input_size=input_size, allow_dead=True).blocks
    if planned.site.layout == "NLC":  # the map of patch tokens that no head reads would be zero everywhere
        _plan(bare, where, input_size)
    return _layer(planned.site, where)


def _at_block(model: nn.Module, stage: int) -> Layer:
    blocks = [block.planned for block in awb.awb_blocks(model).values()]
    sites = [planned.site for planned in blocks if planned.stage == stage]
    if not sites:
        raise AWBError(f"no block at stage {stage}; there are blocks at {[str(p.stage or p.site) for p in blocks]}")
    return _layer(sites[0])


def _last_site(bare: nn.Module, input_size: int | None) -> Site:
    try:
        return _plan(bare, "after", input_size)
    except AWBError as error:
        norms = [path for path, _ in bare.named_modules() if path.rpartition(".")[2] in _INPUT_NORMS]
        for path in reversed(norms):
            try:
                site = _plan(bare, path, input_size)
            except AWBError:  # the head does not read its patch tokens, or they are none
                continue
            if site.layout == "NLC":
                return site
        raise AWBError(f"no last map is known of {type(bare).__name__} ({error}); name a layer by its path") from None


def _plan(bare: nn.Module, where: str, input_size: int | None) -> Site:
    (planned,) = awb.plan_awb(bare, where, input_size=input_size).blocks
    return planned.site


def _layer(site: Site, path: str | None = None) -> Layer:
    if site.element is not None:
        raise AWBError(f"{site} is one of several outputs; Grad-CAM needs a module that gives one map")
    return Layer(path or site.module, site.layout, site.grid, site.num_prefix_tokens, site.order)


def _without_blocks(model: nn.Module) -> nn.Module:
    return awb.detach_awb(copy.deepcopy(model)) if awb.awb_blocks(model) else model
