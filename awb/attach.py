"""Put blocks on a model by its plan, and take them off again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from awb.block import AWB
from awb.changed_weights import forget_weights, know_weights
from awb.context import switched_off
from awb.errors import AWBError, LostBlockError, require_module
from awb.guard import add_guards, check_guards, is_guarded, lost_blocks, remove_guards, unguard
from awb.hosts import (
    NoteGrid,
    RunBlock,
    add_step,
    check_host,
    hook_of,
    remove_steps,
    require_removable,
    require_unbaked,
    steps_in,
)
from awb.kinds import DEFAULT, Stages
from awb.plan import AttachmentPlan, backbone_name, plan_awb
from awb.planned import CHILD, Init, PlannedBlock
from awb.relocate import attached_root, placed_blocks, present_plan, relocated, site_path
from awb.stages.inputs import Size
from awb.table import Table
from awb.token_grid import TokenGrid
from awb.wrappers import follow, innermost, named_active_modules


def attach_awb(
    model: nn.Module,
    stages: Stages = "last",
    *,
    attention: str = DEFAULT,
    init: Init = "identity",
    input_size: Size | None = None,
    example_input: Any = None,
    allow_dead: bool = False,
    replace: bool = False,
    **attention_kwargs: Any,
) -> nn.Module:
    """Attach attention blocks after stages of a backbone, in place.

    The backbone's code and state-dict keys stay as they are; a block's keys are `<site>.awb.…` (a second one's at
    the same place `<site>.awb2.…`). Attach before freezing, wrapping (DDP, `torch.compile`) and making the optimiser.

    Args:
        model: Any torchvision or timm backbone, or any module if `stages` names modules by path.
        stages: 1-based ints counted from the stem outward, negative ints, `"all"`, `"last"`, `"last:2"`,
            `"after"` (the last map before pooling), module paths, globs, `Stage` objects, or a list of these.
            The same int means the same place in torchvision's and timm's version of a network;
            `"after"` need not (timm's DenseNet has the last ReLU inside `norm5`, torchvision's after it).
            Or a mapping from any of these (several as a tuple) to the kind there: a name, `(name, options)`, or a
            list of these, which run in order.
        attention: A name from `list_attention()`, if `stages` names no kinds.
        init: `"identity"`: the block returns its input exactly at first, so the logits of a pretrained model
            are bit-identical before and after, and it still learns. `"default"`: the kind's own
            initialisation; a fresh LKA leaves 7–20 % of the activations, which on a frozen pretrained network
            can silence every unit of the next layer for good, without an error (see `diagnose`).
        input_size: Side or (height, width) of the input in pixels; by default what the model was built for.
        example_input: A tensor, tuple of arguments or dict, for models that take no single image.
        allow_dead: Accept a stage that the head never reads (class-token heads), for dense features.
        replace: Replace all blocks that already sit there.
        **attention_kwargs: Options of `attention`.

    Returns:
        The model.

    Raises:
        AWBError: Anything above cannot be done; the model is then exactly as it was.

    Examples:
        >>> import torchvision, awb
        >>> model = awb.attach_awb(torchvision.models.resnet18(), stages=[3, 4])
        >>> list(awb.awb_blocks(model))
        ['layer3.1.awb', 'layer4.1.awb']

        A kind for each stage, and two at one:

        >>> kinds = {3: ("cbam", {"rd_ratio": 0.125}), 4: ["se", "lka"]}
        >>> model = awb.attach_awb(torchvision.models.resnet18(), kinds)
        >>> {path: block.planned.attention for path, block in awb.awb_blocks(model).items()}
        {'layer3.1.awb': 'cbam', 'layer4.1.awb': 'se', 'layer4.1.awb2': 'lka'}
    """
    plan = plan_awb(
        model, stages, attention=attention, init=init, input_size=input_size, example_input=example_input,
        allow_dead=allow_dead, replace=replace, **attention_kwargs,
    )  # fmt: skip
    return apply_plan(model, plan)


def apply_plan(model: nn.Module, plan: AttachmentPlan) -> nn.Module:
    """Attach the blocks of a plan made for this model; blocks that already sit there are replaced."""
    place_blocks(model, build_blocks(model, plan))
    return model


@torch.inference_mode(False)  # parameters made in it could never be trained
def build_blocks(model: nn.Module, plan: AttachmentPlan) -> list[AWB]:
    """New blocks on the device, in the dtype and in the mode of their sites."""
    with torch.device("cpu"):  # whatever default the caller has set, the values must be real
        return [_build(model, planned) for planned in plan.blocks]


def place_blocks(model: nn.Module, blocks: list[AWB]) -> None:
    """Put blocks on the model, and let them run.

    Raises:
        AWBError: Nothing can run after a module; the model is then as it was.
    """
    _check_hosts(model, blocks)
    know_weights(model, blocks)
    for block in blocks:
        planned = block.planned
        home = model.get_submodule(planned.home)
        if planned.position == 0:
            _clear_place(model, planned)
        if planned.site.element is None:
            home.add_module(planned.child, block)
        else:
            if planned.child not in home._modules:
                home.add_module(planned.child, nn.ModuleDict())
            home.get_submodule(planned.child).add_module(str(planned.site.element), block)
        _connect(model, planned, planned.path)


def detach_awb(model: nn.Module) -> nn.Module:
    """Remove all blocks and what runs them; the model is exactly what it was before `attach_awb`.

    Freezing has its own inverse, `unfreeze_backbone`.

    Raises:
        AWBError: The model has no blocks, or they are baked in; it is wrapped in DistributedDataParallel; or another
            tool has put a class of its own over a module that a block follows.
    """
    require_module(model)
    if isinstance(model, nn.parallel.DistributedDataParallel):
        raise AWBError("DistributedDataParallel goes on waiting for the blocks' gradients: detach, then wrap anew")
    require_unbaked(model)
    placed = placed_blocks(model)
    if not placed and not is_guarded(model):
        raise AWBError(_no_blocks(model))
    for p in placed:
        if p.site is None:
            site_path(p)  # it is lost, or follows a module around the model
    hosts = {id(host): host for _, host, _ in steps_in(model)}
    for host in hosts.values():
        require_removable(host)
    for host in hosts.values():
        remove_steps(host)
    names = {p.block.planned.child for p in placed} | {CHILD}
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if name in names and any(isinstance(m, AWB) for m in child.modules()):
                delattr(module, name)
    remove_guards(model)
    forget_weights(model)
    return model


def rehook_awb(model: nn.Module, *, forget: bool = False) -> nn.Module:
    """Let blocks run again after a conversion replaced the modules that they follow.

    Args:
        model: The model that holds the blocks.
        forget: Go on without the blocks that are gone, rather than raise.

    Returns:
        The model.

    Raises:
        LostBlockError: A block itself is gone.
    """
    require_module(model)
    require_unbaked(model)
    placed = placed_blocks(model)
    root = attached_root(model, [p.block for p in placed])
    for p in placed:
        planned = p.block.planned if root is not None else relocated(model, p)
        _connect(root or model, planned, p.block.planned.path)
    if forget:
        unguard(model, lost_blocks(model))
    check_guards(model)
    return model


@contextmanager
def awb_disabled(model: nn.Module) -> Iterator[nn.Module]:
    """Run the model without its blocks inside the context, in this thread; may be nested.

    Raises:
        AWBError: The model has no blocks, or runs them in threads of its own (`nn.DataParallel` on several devices).
    """
    blocks = attached_blocks(model).values()
    require_own_thread(model)
    with switched_off(block.key for block in blocks):
        yield model


def require_own_thread(model: nn.Module) -> None:
    """Refuse a model whose forward pass leaves the caller's thread, in which alone a request to blocks holds.

    Raises:
        AWBError: It is in `nn.DataParallel` on several devices.
    """
    if any(isinstance(m, nn.DataParallel) and len(m.device_ids) > 1 for m in model.modules()):
        raise AWBError("nn.DataParallel runs blocks in threads of its own: run the model inside it (its .module)")


def awb_blocks(model: nn.Module) -> dict[str, AWB]:
    """The blocks in a model by their path; empty if there are none."""
    require_module(model)
    return {name: module for name, module in named_active_modules(model) if isinstance(module, AWB)}


def attached_blocks(model: nn.Module) -> dict[str, AWB]:
    """`awb_blocks`, made sure that there are some and that all of them run.

    Raises:
        AWBError: There are none, or one follows a module around the model.
        LostBlockError: One no longer runs.
    """
    require_module(model)
    check_guards(model)
    placed = placed_blocks(model)
    if not placed:
        raise AWBError(_no_blocks(model))
    lost = [p for p in placed if p.site is None]
    for p in lost:
        site_path(p)
    if lost:
        names = ", ".join(p.path for p in lost)
        raise LostBlockError(
            f"block {names} no longer runs: nothing is left of what ran it; call awb.rehook_awb(model)"
        )
    return {p.path: p.block for p in placed}


def summary(model: nn.Module) -> Table:
    """The attached blocks: stage, site, channels, reduction, layout, parameters, MACs, and how many parameters train.

    Returns:
        A table that prints itself; MACs are multiply–accumulates of one image at the traced input size.

    Raises:
        AWBError: The model has no blocks, or one no longer runs.
    """
    plan = attached_plan(model)
    blocks = awb_blocks(model).values()
    return plan.table([sum(p.numel() for p in block.parameters() if p.requires_grad) for block in blocks])


def attached_plan(model: nn.Module) -> AttachmentPlan:
    """The plan of the model's blocks, in terms of the model attached to if it is still whole, or else of `model`."""
    attached_blocks(model)
    root, _, planned = present_plan(model)
    return AttachmentPlan(backbone_name(root), planned)


def _build(model: nn.Module, planned: PlannedBlock) -> AWB:
    block = AWB(planned)
    reference = _nearest_parameter(model, planned.site.module)
    if reference is not None:
        block.to(device=reference.device, dtype=reference.dtype)
    return block.train(model.get_submodule(planned.site.module).training)


def _nearest_parameter(model: nn.Module, name: str) -> Tensor | None:
    """A floating-point parameter of the module, else of the nearest module registered before it."""
    own = [p for p in model.get_submodule(name).parameters() if p.is_floating_point()]
    if own:
        return own[0]
    nearest = None
    for path, module in model.named_modules():
        if path == name:
            break
        nearest = next((p for p in module.parameters(recurse=False) if p.is_floating_point()), nearest)
    return nearest


def _check_hosts(model: nn.Module, blocks: list[AWB]) -> None:
    """Whether something can run after each module: nothing may fail half-way later."""
    names = {b.planned.site.module for b in blocks} | {
        b.planned.grid_source[0] for b in blocks if b.planned.grid_source
    }
    for name in names:
        check_host(model.get_submodule(name))


def _clear_place(model: nn.Module, planned: PlannedBlock) -> None:
    """Take off the blocks that sit where a plan's first is to go."""
    site = innermost(model.get_submodule(planned.site.module))
    hook = hook_of(site)
    for step in list(hook.steps) if hook is not None else ():
        if hook is None or not isinstance(step, RunBlock) or step.element != planned.site.element:
            continue
        hook.steps.remove(step)
        _delete(site, step.path)
        unguard(model, [step.name])


def _delete(module: nn.Module, path: str) -> None:
    """Delete a block below a module, with the `ModuleDict` that holds it if it was the last there."""
    above, _, name = path.rpartition(".")
    holder = follow(module, above)
    if holder is None or name not in holder._modules:
        return
    delattr(holder, name)
    if isinstance(holder, nn.ModuleDict) and not holder:
        _delete(module, above)


def _connect(root: nn.Module, planned: PlannedBlock, name: str) -> None:
    """Add what is missing of all that runs a block: at its site, at its grid's source, and before modules around it.

    Args:
        root: The model.
        planned: The block's plan in terms of the model.
        name: The name that it got when it was attached.
    """
    site = follow(root, planned.site.module)
    if site is None:
        raise LostBlockError(f"there is no module {planned.site.module!r}, after which block {name} was attached")
    site = innermost(site)
    grid = None if planned.grid_source is None else _noted_grid(root, planned)
    steps = hook.steps if (hook := hook_of(site)) is not None else []
    step = next((s for s in steps if isinstance(s, RunBlock) and s.name == name), None)
    if step is None:
        step = RunBlock(name, planned.path_below_site, planned.site.element, grid, planned.site.num_prefix_tokens)
        add_step(site, step)
    step.grid = grid
    add_guards(root, planned, name)


def _noted_grid(root: nn.Module, planned: PlannedBlock) -> TokenGrid:
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
    steps = hook.steps if (hook := hook_of(source)) is not None else []
    for step in steps:
        if isinstance(step, NoteGrid) and step.element == element:
            return step.grid
    grid = TokenGrid(planned.site.grid, name)
    add_step(source, NoteGrid(grid, element))
    return grid


def _no_blocks(model: nn.Module) -> str:
    return f"{type(model).__name__} has no attention blocks; attach them with attach_awb(model)"
