"""Blocks in whatever model holds them now: which module they follow, and their plan in its terms.

A plan's paths are those of the model that was attached to. That model may be wrapped since (DDP, PEFT), or a part of
it may have been cut out or taken over by another model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from awb.block import AWB
from awb.errors import AWBError, LostBlockError
from awb.hosts import NoteGrid, RunBlock, steps_in
from awb.planned import PlannedBlock
from awb.wrappers import follow, innermost, named_active_modules


@dataclass(frozen=True)
class Placed:
    """A block in the model at hand.

    Attributes:
        path: Its path there.
        block: The block.
        site: Path of the module that it follows; None if it follows none there.
        step: What runs it; None likewise.
    """

    path: str
    block: AWB
    site: str | None
    step: RunBlock | None


def placed_blocks(model: nn.Module) -> list[Placed]:
    """All blocks in a model, running or not."""
    running: dict[int, tuple[str, RunBlock]] = {}
    for path, host, step in steps_in(model):
        block = follow(host, step.path) if isinstance(step, RunBlock) else None
        if block is not None and isinstance(step, RunBlock):
            running[id(innermost(block))] = path, step
    found = ((path, m) for path, m in named_active_modules(model) if isinstance(m, AWB))
    return [Placed(path, block, *running.get(id(block), (None, None))) for path, block in found]


def attached_root(model: nn.Module, blocks: list[AWB]) -> nn.Module | None:
    """The model in or under `model` in which the blocks are where they were attached; None if there is none."""
    for module in model.modules():
        at = (follow(module, block.planned.path) for block in blocks)
        if all(m is not None and innermost(m) is block for m, block in zip(at, blocks, strict=True)):
            return innermost(module)
    return None


def present_plan(model: nn.Module) -> tuple[nn.Module, dict[str, AWB], tuple[PlannedBlock, ...]]:
    """The model that the paths refer to, the blocks by their path in it, and what they are there.

    That is the model attached to, in or under `model`, or else `model` itself.
    """
    placed = placed_blocks(model)
    root = attached_root(model, [p.block for p in placed])
    planned = tuple(p.block.planned if root is not None else relocated(model, p) for p in placed)
    return root or model, {plan.path: p.block for plan, p in zip(planned, placed, strict=True)}, planned


def relocated(model: nn.Module, placed: Placed) -> PlannedBlock:
    """A block's plan with the paths that it has in `model`.

    Raises:
        AWBError: The module that it follows, or the one that shows its token grid, is elsewhere.
    """
    planned = placed.block.planned
    site = placed.site if placed.site is not None else site_path(placed)
    if not site:
        raise AWBError(f"block {planned.path} runs after this {type(model).__name__} itself: pass the model around it")
    return replace(
        planned,
        stage_name=_moved(planned.stage_name, planned.site.module, site) or site,
        site=replace(planned.site, module=site),
        home=_without_suffix(placed.path, planned.path[len(planned.home) :]),
        grid_source=_grid_source(model, placed.step, planned, site),
    )


def site_path(placed: Placed) -> str:
    """Where the module that a block was attached after should be: so many names up from the block.

    Raises:
        LostBlockError: The block's path has other names at its end.
    """
    names = placed.path.split(".")
    for name in reversed(placed.block.planned.path_below_site.split(".")):
        while names and names[-1] != name:  # a wrapper's
            names.pop()
        if not names:
            raise LostBlockError(
                f"block {placed.path} was attached as {placed.block.planned.path}, to a model around this: the module "
                "that it follows is there; call this with that model"
            )
        names.pop()
    return ".".join(names)


def _grid_source(
    model: nn.Module, step: RunBlock | None, planned: PlannedBlock, site: str
) -> tuple[str, int | str | None] | None:
    if planned.grid_source is None:
        return None
    name, element = planned.grid_source
    for path, _, other in steps_in(model):
        if step is not None and isinstance(other, NoteGrid) and other.grid is step.grid:
            return path, other.element
    moved = _moved(name, planned.site.module, site)
    if moved is None or follow(model, moved) is None:
        raise AWBError(f"{name}, which shows the token grid of {planned.path}, is outside this {type(model).__name__}")
    return moved, element


def _moved(name: str, old: str, new: str) -> str | None:
    """A path that was written beside `old`, where that is `new` now; None if it does not begin alike."""
    before, after = _changed_prefix(old, new)
    if before and name != before and not name.startswith(f"{before}."):
        return None
    rest = name[len(before) :].lstrip(".")
    return ".".join(part for part in (after, rest) if part)


def _without_suffix(path: str, suffix: str) -> str:
    """The home of a block at `path`, whose end may be in a wrapper (PEFT's `awb.modules_to_save.default`)."""
    return path[: path.rindex(f"{suffix}.")] if not path.endswith(suffix) else path[: -len(suffix)]


def _changed_prefix(old: str, new: str) -> tuple[str, str]:
    """What two paths begin with, less what they end with alike."""
    a, b = old.split("."), new.split(".")
    while a and b and a[-1] == b[-1]:
        a.pop()
        b.pop()
    return ".".join(a), ".".join(b)
