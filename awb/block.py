"""The block that is attached, and the hooks that run it.

Hooks are objects holding plain data, never closures: a deepcopy of the model then runs its own blocks, and
pickling works. A hook finds its block by path below the module it sits on.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from awb.attention.lka import finite
from awb.attention.registry import create_attention
from awb.errors import AWBError, LostBlockError
from awb.layout import from_nchw, to_nchw
from awb.planned import PlannedBlock
from awb.stages.types import Site
from awb.token_grid import TokenGrid

# FX cannot trace their checks of shapes and strides
torch.fx.wrap("to_nchw")
torch.fx.wrap("from_nchw")


class AWB(nn.Module):
    """An Attention-Wise Block: an attention kind at a site of a backbone.

    A kind without `reset_identity()` that is to start as the identity, and does not by itself, gets a scale γ
    per channel, 0 at first: y = x + γ·(f(x) − x).

    Args:
        planned: What to build: attention kind, its options, the site and the initialisation.
    """

    def __init__(self, planned: PlannedBlock) -> None:
        super().__init__()
        self.planned = planned
        self.grid = TokenGrid(planned.site.grid)
        self.enabled = True
        self.captured: list[Tensor] | None = None
        self.attention: Any = create_attention(planned.attention, self.channels, **planned.attention_kwargs)
        self.gamma: nn.Parameter | None = None
        order = torch.tensor(planned.site.order) if planned.site.order else None
        self.order: Tensor | None
        self.raster: Tensor | None
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("raster", None if order is None else order.argsort(), persistent=False)
        if planned.init == "identity":
            reset = getattr(self.attention, "reset_identity", None)
            if reset is not None:
                reset()
            elif not _is_identity(self.attention, planned.site):
                self.gamma = nn.Parameter(torch.zeros(self.channels))

    @property
    def channels(self) -> int:
        """Number of channels of the map."""
        return self.planned.site.channels

    def forward(self, x: Tensor) -> Tensor:
        """Map the site's tensor, in its own layout and dtype, to a new one of the same shape."""
        if not self.enabled:
            return x
        site = self.planned.site
        if site.order and self.grid.size != site.grid:
            given, present = ("×".join(map(str, grid)) for grid in (site.grid, self.grid.size))
            raise AWBError(
                f"the order of tokens was given for a {given} grid, not {present}: attach at the size run at"
            )
        nchw = to_nchw(x, site.layout, self.grid.size, site.num_prefix_tokens, self.raster, self.grid.earlier)
        if self.captured is not None:
            self.captured[:] = [_map_in_eval_mode(self.attention, nchw)]
        y = self._scaled(nchw).to(x.dtype)
        if site.layout == "NLC":
            self.grid.keep(y)
        return from_nchw(y, x, site.layout, site.num_prefix_tokens, self.order)

    def _scaled(self, x: Tensor) -> Tensor:
        y: Tensor = self.attention(x)
        if self.gamma is None:
            return y
        # in float16 an overflow in f(x) − x would make 0 · inf = NaN
        return x + self.gamma.to(x.dtype).view(-1, 1, 1) * finite(y.to(x.dtype) - x)

    def __getstate__(self) -> dict[str, Any]:
        """A copy taken inside `awb_disabled` or `capture_attention` is not inside it."""
        return {**self.__dict__, "enabled": True, "captured": None}

    def extra_repr(self) -> str:
        return f"site={self.planned.site}, layout={self.planned.site.layout}"


@torch.no_grad()
def _is_identity(attention: nn.Module, site: Site) -> bool:
    """Whether a fresh module returns its input (timm's non-local ones): γ = 0 before it would never move."""
    x = torch.randn(1, site.channels, *site.grid, generator=torch.Generator().manual_seed(0), device="cpu")
    probe = copy.deepcopy(attention)
    with torch.random.fork_rng(devices=[]):
        return all(torch.equal(probe.train(mode)(x), x) for mode in (False, True))


@torch.no_grad()
def _map_in_eval_mode(attention: Any, x: Tensor) -> Tensor:
    """The attention map, made beside the forward pass: it must not move statistics or draw random numbers."""
    modes = [(module, module.training) for module in attention.modules()]
    attention.eval()
    attention_map: Tensor = attention.attention_map(x)
    for module, mode in modes:
        module.training = mode
    return attention_map


class Hook:
    """What torch.jit.script says of a hook: it compiles functions only, by their name."""

    @property
    def __name__(self) -> str:
        raise AttributeError(
            "torch.jit.script is deprecated and cannot compile awb's hooks: use torch.export or torch.jit.trace"
        )


class BlockHook(Hook):
    """Forward hook: pass the module's output, or one element of it, through a block below the module.

    Args:
        path: Path of the block relative to the hooked module.
        element: Index or key of the tensor in the output; None if the output is a tensor.
    """

    def __init__(self, path: str, element: int | str | None) -> None:
        self.path = path
        self.element = element

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        block = module.get_submodule(self.path)
        if self.element is None:
            return block(output)
        return replace_element(output, self.element, block(output[self.element]))


class GridHook(Hook):
    """Forward hook on the module whose N×C×H×W output becomes the tokens: note the grid for the blocks.

    Args:
        grid: Where the blocks read it.
        element: Index or key of the map in the output; None if the output is the map.
    """

    def __init__(self, grid: TokenGrid, element: int | str | None = None) -> None:
        self.grid = grid
        self.element = element

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        self.grid.update(output if self.element is None else output[self.element])


class HookGuard(Hook):
    """Forward pre-hook on the root: refuse to run if a block has lost its hook, or its fixed grid is not the image's.

    Replacing a module (`SyncBatchNorm.convert_sync_batchnorm`, timm's `freeze_batch_norm_2d`) moves the block
    to the new module but not the hook; the block would stay in the state dict and never run.

    Args:
        planned: The attached blocks by their path in the root.
    """

    def __init__(self, planned: dict[str, PlannedBlock]) -> None:
        self.planned = planned

    def __call__(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        for planned in self.planned.values():
            if not is_hooked(module, planned):
                self.check(module)
            if planned.input_size is not None:
                _check_aspect(planned, planned.input_size, (args, kwargs))

    def lost(self, root: nn.Module) -> list[str]:
        """Paths of the blocks that no longer run."""
        return [path for path, planned in self.planned.items() if not is_hooked(root, planned)]

    def check(self, root: nn.Module) -> None:
        """Raise `LostBlockError` if a block no longer runs, naming it and what to do."""
        lost = self.lost(root)
        if not lost:
            return
        modules = dict(root.named_modules())
        gone = [path for path in lost if path not in modules]
        remedy = (
            f"{', '.join(gone)} went with it: detach_awb(model) and attach again"
            if gone
            else "call awb.rehook_awb(model)"
        )
        raise LostBlockError(
            f"block {', '.join(lost)} no longer runs: a module was replaced after attaching (SyncBatchNorm conversion "
            f"and freeze_batch_norm_2d do that). Convert before attaching; now, {remedy}"
        )


def _check_aspect(planned: PlannedBlock, traced: tuple[int, int], inputs: Any) -> None:
    """Another aspect ratio may have as many tokens, in another grid."""
    images = (t for t in torch.utils._pytree.tree_leaves(inputs) if isinstance(t, Tensor) and t.ndim >= 4)
    height, width = next((tuple(image.shape[-2:]) for image in images), traced)
    if height * traced[1] != width * traced[0]:
        raise AWBError(
            f"no module shows the token grid of {planned.site}, so it is that of {traced[0]}×{traced[1]} images, and "
            f"this one is {height}×{width}: attach at the input_size that the model runs at"
        )


def is_hooked(root: nn.Module, planned: PlannedBlock) -> bool:
    """Whether the block exists and everything that runs it is in place."""
    try:
        root.get_submodule(planned.path)
        hooks = root.get_submodule(planned.site.module)._forward_hooks
        source = root.get_submodule(planned.grid_source[0])._forward_hooks if planned.grid_source else None
    except AttributeError:
        return False
    runs = False
    for hook in hooks.values():
        runs = runs or (isinstance(hook, BlockHook) and hook.path == planned.path_below_site)
    reads_grid = source is None
    for hook in source.values() if source else ():
        reads_grid = reads_grid or isinstance(hook, GridHook)
    return runs and reads_grid


def replace_element(output: Any, element: int | str, value: Tensor) -> Any:
    """A copy of a tuple, named tuple, list or mapping with one element replaced."""
    if isinstance(output, Mapping):
        changed = copy.copy(output)
        changed[element] = value  # type: ignore[index]
        return changed
    if isinstance(output, tuple | list) and isinstance(element, int):
        items = [*output]
        items[element] = value
        if hasattr(output, "_make"):
            return output._make(items)
        return type(output)(items)
    raise AWBError(f"cannot replace element {element!r} of a {type(output).__name__}")
