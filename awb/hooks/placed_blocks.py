"""Blocks in the model that contains them now: the module that each follows, and its plan with present paths.

A plan's paths are those of the model that was attached to. That model may be wrapped since (DDP, PEFT), or a part of
it may have been cut out or taken over by another model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import nn

from awb.block import AWB
from awb.block_plan import PlannedBlock
from awb.errors import AWBError, LostBlockError
from awb.hooks.hosts import running_blocks, steps_in
from awb.hooks.steps import NoteGrid, RunBlock
from awb.wrappers import follow, innermost, named_active_modules


@dataclass(frozen=True)
class PlacedBlock:
    """A block in the present model.

    Attributes:
        path: The block's path there.
        block: The block.
        site: Path of the module that it follows; None if it follows none there.
        step: The step that runs it; None likewise.
    """

    path: str
    block: AWB
    site: str | None
    step: RunBlock | None


class PresentPlan(NamedTuple):
    """Plan of a model's blocks with the paths that they have at present.

    Attributes:
        root: The model that the paths refer to: the one attached to, if it is still whole, or else the present one.
        blocks: The blocks by their path in `root`.
        planned: Their plans, with paths in `root`.
    """

    root: nn.Module
    blocks: dict[str, AWB]
    planned: tuple[PlannedBlock, ...]


def placed_blocks(model: nn.Module) -> list[PlacedBlock]:
    """All blocks in a model, running or not."""
    running = {id(innermost(block)): (path, step) for path, step, block in running_blocks(model)}
    found = ((path, m) for path, m in named_active_modules(model) if isinstance(m, AWB))
    return [PlacedBlock(path, block, *running.get(id(block), (None, None))) for path, block in found]


def attached_root(model: nn.Module, placed: Sequence[PlacedBlock]) -> nn.Module | None:
    """Model in or under `model` in which the blocks are where they were attached; None if there is none."""
    for module in model.modules():
        at = (follow(module, p.block.planned.path) for p in placed)
        if all(m is not None and innermost(m) is p.block for m, p in zip(at, placed, strict=True)):
            return innermost(module)
    return None


def present_plan(model: nn.Module, placed: Sequence[PlacedBlock]) -> PresentPlan:
    """Plan of a model's placed blocks, with paths in the model attached to if that is whole, else in `model`.

    Raises:
        AWBError: A block follows a module that is not in the model.
    """
    root = attached_root(model, placed)
    planned = tuple(p.block.planned if root is not None else relocated(model, p) for p in placed)
    blocks = {plan.path: p.block for plan, p in zip(planned, placed, strict=True)}
    return PresentPlan(root or model, blocks, planned)


def relocated(model: nn.Module, placed: PlacedBlock) -> PlannedBlock:
    """Plan of a block with the paths that it has in `model`.

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


def site_path(placed: PlacedBlock) -> str:
    """Path where the module before a block should be: as many names up from the block as its plan says.

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
    """Present form of a path that was written when `new` was called `old`; None if it does not begin as `old`."""
    before, after = _changed_prefix(old, new)
    if before and name != before and not name.startswith(f"{before}."):
        return None
    rest = name[len(before) :].lstrip(".")
    return ".".join(part for part in (after, rest) if part)


def _without_suffix(path: str, suffix: str) -> str:
    """Home of a block at `path`, whose end may be in a wrapper (PEFT's `awb.modules_to_save.default`)."""
    return path[: path.rindex(f"{suffix}.")] if not path.endswith(suffix) else path[: -len(suffix)]


def _changed_prefix(old: str, new: str) -> tuple[str, str]:
    """Beginnings of two paths, without the names in which their ends agree."""
    a, b = old.split("."), new.split(".")
    while a and b and a[-1] == b[-1]:
        a.pop()
        b.pop()
    return ".".join(a), ".".join(b)
