"""Connect a block to a model: the hooks that run it, note its token grid and guard it."""

from __future__ import annotations

from torch import nn

from awb.block_plan import PlannedBlock
from awb.errors import LostBlockError
from awb.hooks.guards import add_guards, unguard
from awb.hooks.hosts import add_step, hook_of
from awb.hooks.steps import NoteGrid, RunBlock, Step
from awb.hooks.token_grid import TokenGrid
from awb.private_apis import children
from awb.wrappers import follow, innermost


def connect_block(root: nn.Module, planned: PlannedBlock, name: str) -> None:
    """Add any missing hooks of a block: the step that runs it, the step that notes its grid, and its guards.

    Args:
        root: The model.
        planned: The block's plan, with paths in the model.
        name: The name that the block got when it was attached.

    Raises:
        LostBlockError: There is no site, or no module that shows the grid.
    """
    site = follow(root, planned.site.module)
    if site is None:
        raise LostBlockError(f"there is no module {planned.site.module!r}, after which block {name} was attached")
    site = innermost(site)
    grid = None if planned.grid_source is None else _noted_grid(root, planned)
    step = next((s for s in _steps(site) if isinstance(s, RunBlock) and s.name == name), None)
    if step is None:
        step = RunBlock(name, planned.path_below_site, planned.site.element, grid, planned.site.num_prefix_tokens)
        add_step(site, step)
    step.grid = grid
    add_guards(root, planned, name)


def clear_place(model: nn.Module, planned: PlannedBlock) -> None:
    """Remove the blocks that sit where the first block of a place is about to go."""
    site = innermost(model.get_submodule(planned.site.module))
    for step in list(_steps(site)):
        if isinstance(step, RunBlock) and step.element == planned.site.element:
            _steps(site).remove(step)
            _delete(site, step.path)
            unguard(model, [step.name])


def _steps(module: nn.Module) -> list[Step]:
    hook = hook_of(module)
    return [] if hook is None else hook.steps


def _delete(module: nn.Module, path: str) -> None:
    """Delete a block below a module, and its `ModuleDict` if that is then empty."""
    above, _, name = path.rpartition(".")
    holder = follow(module, above)
    if holder is None or name not in children(holder):
        return
    delattr(holder, name)
    if isinstance(holder, nn.ModuleDict) and not holder:
        _delete(module, above)


def _noted_grid(root: nn.Module, planned: PlannedBlock) -> TokenGrid:
    """Grid that the plan's module notes in each forward pass; blocks that follow the same map share one."""
    assert planned.grid_source is not None
    name, element = planned.grid_source
    found = follow(root, name)
    while found is None and "." in name:  # it was fused into the module around it (timm's reparameterize_model)
        name, element = name.rpartition(".")[0], None
        found = follow(root, name)
    if found is None:
        missing = planned.grid_source[0]
        raise LostBlockError(f"there is no module {missing!r}, which shows the token grid of block {planned.path}")
    source = innermost(found)
    for step in _steps(source):
        if isinstance(step, NoteGrid) and step.element == element:
            return step.grid
    grid = TokenGrid(planned.site.grid, name)
    add_step(source, NoteGrid(grid, element))
    return grid
