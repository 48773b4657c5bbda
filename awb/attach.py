"""Attach blocks to a model by a plan, and detach them again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from awb.block import AWB
from awb.block_plan import CHILD, Init, PlannedBlock
from awb.errors import AWBError, LostBlockError, require_module
from awb.hooks.changed_weights import forget_weights, know_weights
from awb.hooks.connect import clear_place, connect_block
from awb.hooks.guards import check_guards, is_guarded, lost_blocks, remove_guards, unguard
from awb.hooks.hosts import check_host, remove_steps, require_removable, require_unbaked, steps_in
from awb.hooks.placed_blocks import PlacedBlock, attached_root, placed_blocks, present_plan, relocated, site_path
from awb.plan import AttachmentPlan, backbone_name, plan_awb
from awb.private_apis import children
from awb.requested_kinds import DEFAULT, Stages
from awb.stages.example_inputs import Size
from awb.table import Table
from awb.thread_switches import switched_off
from awb.wrappers import named_active_modules


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
            `"after"` (the last map before pooling), `"branches"` and `"branches:3-4"` (the ends of residual
            branches, before the addition, where papers put theirs), module paths, globs, `Stage` objects, or a list
            of these.
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

        >>> kinds = {3: ("cbam", {"reduction": 8}), 4: ["se", "lka"]}
        >>> model = awb.attach_awb(torchvision.models.resnet18(), kinds)
        >>> {path: block.planned.attention for path, block in awb.awb_blocks(model).items()}
        {'layer3.1.awb': 'cbam', 'layer4.1.awb': 'se', 'layer4.1.awb2': 'lka'}
    """
    plan = plan_awb(
        model, stages, attention=attention, init=init, input_size=input_size, example_input=example_input,
        allow_dead=allow_dead, replace=replace, **attention_kwargs,
    )  # fmt: skip
    place_blocks(model, build_blocks(model, plan))
    return model


@torch.inference_mode(False)  # parameters made in it could never be trained
def build_blocks(model: nn.Module, plan: AttachmentPlan) -> list[AWB]:
    """Build the blocks of a plan, on the device and in the dtype and mode of their sites."""
    with torch.device("cpu"):  # whatever default the caller has set, the values must be real
        return [_build(model, planned) for planned in plan.blocks]


def place_blocks(model: nn.Module, blocks: list[AWB]) -> None:
    """Put blocks on the model and connect them, so that they run.

    Raises:
        AWBError: Nothing can run after a module; the model is then as it was.
    """
    _check_hosts(model, blocks)
    know_weights(model, blocks)
    for block in blocks:
        planned = block.planned
        home = model.get_submodule(planned.home)
        if planned.position == 0:
            clear_place(model, planned)
        if planned.site.element is None:
            home.add_module(planned.child, block)
        else:
            if planned.child not in children(home):
                home.add_module(planned.child, nn.ModuleDict())
            home.get_submodule(planned.child).add_module(str(planned.site.element), block)
        connect_block(model, planned, planned.path)


def detach_awb(model: nn.Module) -> nn.Module:
    """Remove all blocks and their hooks; the model is then exactly what it was before `attach_awb`.

    To undo freezing, call `unfreeze_backbone`.

    Raises:
        AWBError: The model has no blocks, or they are baked in; it is wrapped in DistributedDataParallel; or another
            tool has replaced the class of a module that a block follows.
    """
    require_module(model)
    if isinstance(model, nn.parallel.DistributedDataParallel):
        raise AWBError("DistributedDataParallel keeps waiting for the blocks' gradients: detach, then wrap again")
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
    """Reconnect blocks after a conversion has replaced the modules that they follow.

    Args:
        model: The model that contains the blocks.
        forget: Go on without the blocks that are gone instead of raising.

    Returns:
        The model.

    Raises:
        LostBlockError: A block itself is gone.
    """
    require_module(model)
    require_unbaked(model)
    placed = placed_blocks(model)
    root = attached_root(model, placed)
    for p in placed:
        planned = p.block.planned if root is not None else relocated(model, p)
        connect_block(root or model, planned, p.block.planned.path)
    if forget:
        unguard(model, lost_blocks(model))
    check_guards(model)
    return model


@contextmanager
def awb_disabled(model: nn.Module) -> Iterator[nn.Module]:
    """Switch the blocks off inside the context, in this thread; contexts may be nested.

    Raises:
        AWBError: The model has no blocks, or runs them in threads of its own (`nn.DataParallel` on several devices).
    """
    blocks = attached_blocks(model).values()
    require_own_thread(model)
    with switched_off(block.key for block in blocks):
        yield model


def require_own_thread(model: nn.Module) -> None:
    """Refuse a model that runs its blocks in other threads: the caller's switches have no effect there.

    Raises:
        AWBError: The model is in `nn.DataParallel` on several devices.
    """
    if any(isinstance(m, nn.DataParallel) and len(m.device_ids) > 1 for m in model.modules()):
        raise AWBError("nn.DataParallel runs blocks in threads of its own: run the model inside it (its .module)")


def awb_blocks(model: nn.Module) -> dict[str, AWB]:
    """Blocks of a model, by path; empty if there are none."""
    require_module(model)
    return {name: module for name, module in named_active_modules(model) if isinstance(module, AWB)}


def attached_blocks(model: nn.Module) -> dict[str, AWB]:
    """Blocks of a model, by path; it is an error if one of them no longer runs.

    Raises:
        AWBError: There are none, or one follows a module around the model.
        LostBlockError: One no longer runs.
    """
    return {p.path: p.block for p in require_running(model)}


def require_running(model: nn.Module) -> list[PlacedBlock]:
    """Blocks of a model, each with the step that runs it; it is an error if one of them no longer runs.

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
    return placed


def summary(model: nn.Module) -> Table:
    """Summarise the attached blocks: stage, site, channels, reduction, layout, parameters, trainable ones, and MACs.

    Returns:
        A table with one row per block; MACs are multiply–accumulates of one image at the traced input size.

    Raises:
        AWBError: The model has no blocks, or one no longer runs.
    """
    root, blocks, planned = present_plan(model, require_running(model))
    trainable = [sum(p.numel() for p in block.parameters() if p.requires_grad) for block in blocks.values()]
    return AttachmentPlan(backbone_name(root), planned).table(trainable)


def _build(model: nn.Module, planned: PlannedBlock) -> AWB:
    block = AWB(planned)
    reference = _nearest_parameter(model, planned.site.module)
    if reference is not None:
        block.to(device=reference.device, dtype=reference.dtype)
    return block.train(model.get_submodule(planned.site.module).training)


def _nearest_parameter(model: nn.Module, name: str) -> Tensor | None:
    """Floating-point parameter of the module at a path, or else of the nearest module registered before it."""
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
    """Refuse blocks after modules that cannot be hosts; called before anything is changed."""
    names = {b.planned.site.module for b in blocks} | {
        b.planned.grid_source[0] for b in blocks if b.planned.grid_source
    }
    for name in names:
        check_host(model.get_submodule(name))


def _no_blocks(model: nn.Module) -> str:
    return f"{type(model).__name__} has no attention blocks; attach them with attach_awb(model)"
