"""The places in a backbone where blocks can run: stages and their sites."""

from __future__ import annotations

from dataclasses import dataclass, field

from awb.layout import Layout


@dataclass(frozen=True)
class Site:
    """A place where a block can run: after one module, on its output or one element of it.

    Attributes:
        module: Dotted path of the module; it is called exactly once in every way the model runs.
        element: Index or key of the tensor in a tuple, list or dict output; None if the output is a tensor.
        channels: Number of channels.
        layout: `"NCHW"`, `"NHWC"` or `"NLC"` (tokens).
        grid: Height and width of the map at the traced input size.
        num_prefix_tokens: Number of class, register and distillation tokens in front of the grid (`"NLC"` only).
        order: For each token of the grid, its position in raster order; empty where that is the order.
    """

    module: str
    element: int | str | None
    channels: int
    layout: Layout
    grid: tuple[int, int]
    num_prefix_tokens: int = 0
    order: tuple[int, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.module if self.element is None else f"{self.module}[{self.element!r}]"


@dataclass(frozen=True)
class Stage:
    """A section of a backbone after which blocks can be attached.

    Attributes:
        index: 1-based number counted from the stem outward; None for a place without a number.
        name: Dotted path of the stage's module.
        reduction: Nominal ratio of the sides of input and map (timm's `feature_info`); the sites' grids are exact.
        live: False if the head never reads the map, so that a block here would change nothing.
        sites: The places where blocks go; most stages have one.
    """

    index: int | None
    name: str
    reduction: int
    live: bool
    sites: tuple[Site, ...]

    def __str__(self) -> str:
        return self.name if self.index is None else f"stage {self.index} ({self.name})"
