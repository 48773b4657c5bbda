"""Sites of traced modules: the exact place of a block, and the layout, channels and grid of the map there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from torch import Tensor, nn

from awb.errors import AWBError
from awb.layout import Layout
from awb.places import Site
from awb.stages.advice import not_once
from awb.stages.calls import Call
from awb.stages.families import Entry
from awb.stages.homes import CONTAINERS
from awb.stages.tensors import map_tensors
from awb.stages.trace import Trace, trace

_OF_MAPS = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_MAX_PREFIX = 16  # the most class, register and distillation tokens looked for


def describe_site(traced: Trace, entry: Entry, element: int | str | None = None) -> Site:
    """Find the site of a stage: the outermost module that returns the stage's tensor and runs once in each mode.

    A stage's container may be skipped (gradient checkpointing flattens it, `forward_intermediates` walks
    past it), so the site goes down to a child, but only to one that returned the same tensor object at
    the same version: torchvision's MBConv adds its residual to a child's output in place.

    Raises:
        AWBError: The module does not run once, or its output is not a map.
    """
    call = traced.call(entry.name)
    if call is None:
        raise AWBError(f"{entry.name!r} is not called in the forward pass, so no block can run after it")
    element, tensor = _pick_element(call, element, entry)
    version = next(v for e, _, v in call.outputs if e == element)
    inside = f"{entry.name}."
    chain = [n for n in traced.returning(tensor, version) if n == entry.name or n.startswith(inside)]
    once = sorted((n for n in chain if not traced.times_called(n)), key=lambda n: _preference(traced, n))
    if not once:
        raise not_once(traced, entry.name)
    layout, channels = _layout(traced, entry, element, tensor)
    own = traced.element(once[0], tensor)  # a module inside returns it alone, or in another place
    if layout != "NLC":
        return Site(once[0], own, channels, layout, _map_grid(layout, tensor))
    grid = _token_grid(traced, call, tensor, entry.reduction)
    return Site(once[0], own, channels, layout, grid, tensor.shape[1] - grid[0] * grid[1], entry.order)


def check_site(traced: Trace, site: Site, reduction: int) -> Site:
    """Check a site written by hand or in a file, and take its grid from the trace.

    Raises:
        AWBError: The trace contradicts it.
    """
    call = traced.call(site.module) if site.module else None
    if call is None:
        raise AWBError(f"no module {site.module!r} is called in the forward pass, so no block can run after it")
    if traced.times_called(site.module):
        raise not_once(traced, site.module)
    tensor = call.output(site.element)
    if tensor is None:
        known = [element for element, _, _ in call.outputs]
        raise AWBError(f"the output of {site.module!r} has no element {site.element!r}: it has {known}")
    axis = {"NCHW": 1, "NHWC": 3, "NLC": 2}.get(site.layout)
    if axis is None or tensor.ndim != (3 if site.layout == "NLC" else 4) or tensor.shape[axis] != site.channels:
        raise AWBError(
            f"{site} returns {tuple(tensor.shape)}, which is not {site.layout} with {site.channels} channels"
        )
    if site.layout != "NLC":
        other: Layout = "NHWC" if site.layout == "NCHW" else "NCHW"
        shape, size = tuple(tensor.shape), traced.input_size
        if _same_aspect(size, shape, other) and not _same_aspect(size, shape, site.layout):
            raise AWBError(
                f"{site} returns {shape} for a {size[0]}×{size[1]} input, which is {other}, not {site.layout}"
            )
        return replace(site, grid=_map_grid(site.layout, tensor))
    return _check_tokens(traced, call, tensor, site, reduction)


def _check_tokens(traced: Trace, call: Call, tokens: Tensor, site: Site, reduction: int) -> Site:
    """Check a hand-written or saved site of tokens; if the trace shows no grid, the written one is believed."""
    length = int(tokens.shape[1])
    try:
        grid = _token_grid(traced, call, tokens, reduction)
    except AWBError:
        grid = site.grid
    prefix = length - grid[0] * grid[1]
    if prefix != site.num_prefix_tokens or (site.order and grid != site.grid):
        raise AWBError(
            f"{site} returns {length} tokens, {prefix} prefix tokens and a {grid[0]}×{grid[1]} grid, not "
            f"{site.num_prefix_tokens} and {site.grid[0]}×{site.grid[1]}"
        )
    return replace(site, grid=grid)


def _map_grid(layout: Layout, tensor: Tensor) -> tuple[int, int]:
    height, width = tensor.shape[2:] if layout == "NCHW" else tensor.shape[1:3]
    return int(height), int(width)


def _preference(traced: Trace, name: str) -> tuple[bool, int]:
    """Sort key: real modules before containers (which others skip to run their children), then the shallowest."""
    return isinstance(traced.model.get_submodule(name), CONTAINERS), name.count(".")


def nominal_reduction(traced: Trace, entry: Entry, grid: tuple[int, int]) -> int:
    """Reduction in `feature_info`; else the ratio of input and map, rounded to a power of two if not whole."""
    if entry.reduction is not None:
        return entry.reduction
    ratio = max(1, traced.input_size[0] / grid[0])  # with no image among the inputs there is no ratio
    return int(ratio) if ratio == int(ratio) else 2 ** round(math.log2(ratio))


def grid_source(traced: Trace, site: Site) -> tuple[str, int | str | None] | None:
    """Find the first module, and the element of its output, that shows the tokens' grid at every input size.

    That is a map of the grid; or, where no module returns one, a pair of ints beside tokens (timm's NaFlexViT).
    """
    if site.layout != "NLC":
        return None
    end = traced.call(site.module)
    tokens = end.output(site.element) if end is not None else None
    if end is None or tokens is None:
        return None
    earlier = [c for c in traced.calls if c.finished < end.finished and not traced.times_called(c.name)]
    maps = ((c.name, element) for c in earlier for element, grid in c.grids(tokens.shape[0]) if grid == site.grid)
    pairs = ((c.name, element) for c in earlier for element, grid in c.sizes if grid == site.grid)
    return next(maps, None) or next(pairs, None)


def _token_grid(traced: Trace, call: Call, tokens: Tensor, reduction: int | None) -> tuple[int, int]:
    """Find the grid of N×L×C tokens, which include prefix tokens.

    Tokens come from a map, so the latest N×C×H×W output before the call that fits, or pair of ints, says what the
    grid is; where none does (LeViT subsamples tokens) the nominal reduction decides.

    Raises:
        AWBError: Neither gives a grid.
    """
    height, width = traced.input_size
    batch, length = tokens.shape[:2]
    if not height * width:
        raise AWBError(
            f"{call.name!r} returns {tuple(tokens.shape)}, and no input is an image: a block needs a 2-D map"
        )
    step = reduction or math.sqrt(height * width / max(length, 1))
    for earlier in reversed([c for c in traced.calls if c.finished < call.finished]):
        for _, (h, w) in (*earlier.grids(batch), *earlier.sizes):
            close = abs(h - height / step) < 1 + 0.1 * h and abs(w - width / step) < 1 + 0.1 * w
            if close and 0 <= length - h * w <= _MAX_PREFIX:
                return h, w
    if reduction is not None:
        h, w = math.ceil(height / reduction), math.ceil(width / reduction)
        if 0 <= length - h * w <= _MAX_PREFIX:
            return h, w
    raise AWBError(
        f"{call.name!r} returns {length} tokens of a {height}×{width} input, and no module before it returns a map "
        "of as many positions, which would tell their grid; the batch has to come first, and if it does, pass a Stage "
        "with its Site spelled out"
    )


def _pick_element(call: Call, element: int | str | None, entry: Entry) -> tuple[int | str | None, Tensor]:
    maps = {e: t for e, t, _ in call.outputs if t.ndim in (3, 4) and min(t.shape) > 0}
    if element is None and len(maps) == 1:
        return next(iter(maps.items()))
    if element in maps:
        return element, maps[element]
    if not maps:
        shapes = ", ".join(str(tuple(t.shape)) for t in call.returned) or "no tensor"
        nested = "" if call.outputs or not call.returned else " inside other objects (name a module that returns one)"
        raise AWBError(f"{call.name!r} returns {shapes}{nested}; a block needs N×C×H×W, N×H×W×C or N×L×C")
    choices = ", ".join(f"{e!r}: {tuple(t.shape)}" for e, t in maps.items())
    raise AWBError(f"{call.name!r} returns several maps ({choices}); pass a Stage whose Site names the element")


def _layout(traced: Trace, entry: Entry, element: int | str | None, tensor: Tensor) -> tuple[Layout, int]:
    """Find layout and channel count: by the known count, the aspect ratio, neighbours, or a larger input."""
    shape = tuple(int(n) for n in tensor.shape)
    if tensor.ndim == 3:
        return "NLC", shape[2]
    fits: list[tuple[Layout, int]] = [("NCHW", shape[1]), ("NHWC", shape[3])]
    if entry.layout in ("NCHW", "NHWC"):
        return cast(Layout, entry.layout), dict(fits)[cast(Layout, entry.layout)]
    tests: tuple[Callable[[Layout, int], bool], ...] = (
        lambda layout, channels: entry.channels is None or channels == entry.channels,
        lambda layout, channels: _same_aspect(traced.input_size, shape, layout),
        lambda layout, channels: layout == "NCHW" and _meets_convolution(traced, tensor),
        lambda layout, channels: _is_channel_axis(traced, entry.name, element, layout),
    )
    for test in tests:
        left = [fit for fit in fits if test(*fit)]
        fits = left or fits
        if len(fits) == 1:
            return fits[0]
    raise AWBError(
        f"{entry.name!r} returns {shape}, which may be N×C×H×W or N×H×W×C; pass a Stage whose Site says the layout"
    )


def _same_aspect(input_size: tuple[int, int], shape: tuple[int, ...], layout: Layout) -> bool:
    h, w = shape[2:] if layout == "NCHW" else shape[1:3]
    height, width = input_size
    if not height * width:
        return False  # no image says what its shape is
    step = math.sqrt(height * width / (h * w))
    return abs(h - height / step) < 1 and abs(w - width / step) < 1


def _meets_convolution(traced: Trace, tensor: Tensor) -> bool:
    """True if a layer of N×C×H×W maps, such as a convolution, takes or returns this very tensor."""
    meeting = (c for c in traced.calls if any(t is tensor for t in (*c.inputs, *c.returned)))
    return any(isinstance(traced.model.get_submodule(call.name), _OF_MAPS) for call in meeting)


def _is_channel_axis(traced: Trace, name: str, element: int | str | None, layout: Layout) -> bool:
    """True if the channel axis of a layout keeps its length on a larger input; False if the model takes one size."""
    if not all(traced.input_size):
        return False

    def grow(tensor: Tensor) -> Tensor:
        """Double the sides of a tensor that has the image's size."""
        larger = tuple(traced.input_size) == tuple(tensor.shape[-2:])
        return tensor.repeat_interleave(2, -1).repeat_interleave(2, -2) if larger else tensor

    try:
        again = trace(traced.model, *map_tensors((traced.inputs, dict(traced.kwargs)), grow))
    except AWBError:
        return False
    axis = 1 if layout == "NCHW" else 3
    before, after = traced.call(name), again.call(name)
    if before is None or after is None:
        return False
    a, b = before.output(element), after.output(element)
    return a is not None and b is not None and a.shape[axis] == b.shape[axis]
