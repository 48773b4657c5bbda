"""Put blocks on a model by its plan, and take them off again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from awb.block import AWB, BlockHook, GridHook, HookGuard
from awb.errors import AWBError, require_module
from awb.plan import AttachmentPlan, Stages, backbone_name, plan_awb
from awb.planned import CHILD, Init, PlannedBlock
from awb.stages.inputs import Size
from awb.table import Table


def attach_awb(
    model: nn.Module,
    stages: Stages = "last",
    *,
    attention: str = "lka",
    init: Init = "identity",
    input_size: Size | None = None,
    example_input: Any = None,
    allow_dead: bool = False,
    replace: bool = False,
    **attention_kwargs: Any,
) -> nn.Module:
    """Attach attention blocks after stages of a backbone, in place.

    The backbone's code and state-dict keys stay as they are; a block's keys are `<site>.awb.…`. Attach before
    freezing, wrapping (DDP, `torch.compile`) and making the optimiser.

    Args:
        model: Any torchvision or timm backbone, or any module if `stages` names modules by path.
        stages: 1-based ints counted from the stem outward, negative ints, `"all"`, `"last"`, `"last:2"`,
            `"after"` (the last map before pooling), module paths, globs, `Stage` objects, or a list of these.
            The same int means the same place in torchvision's and timm's version of a network;
            `"after"` need not (timm's DenseNet has the last ReLU inside `norm5`, torchvision's after it).
        attention: A name from `list_attention()`.
        init: `"identity"`: the block returns its input exactly at first, so the logits of a pretrained model
            are bit-identical before and after, and it still learns. `"default"`: the kind's own
            initialisation; a fresh LKA leaves 7–20 % of the activations, which on a frozen pretrained network
            can silence every unit of the next layer for good, without an error (see `diagnose`).
        input_size: Side or (height, width) of the input in pixels; by default what the model was built for.
        example_input: A tensor, tuple of arguments or dict, for models that take no single image.
        allow_dead: Accept a stage that the head never reads (class-token heads), for dense features.
        replace: Replace blocks that already sit there.
        **attention_kwargs: Options of the attention kind.

    Returns:
        The model.

    Raises:
        AWBError: Anything above cannot be done; the model is then exactly as it was.

    Examples:
        >>> import torchvision, awb
        >>> model = awb.attach_awb(torchvision.models.resnet18(), stages=[3, 4])
        >>> list(awb.awb_blocks(model))
        ['layer3.1.awb', 'layer4.1.awb']
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
    """Put blocks and their hooks on the model; decides nothing, so that it cannot fail half-way."""
    for block in blocks:
        home = model.get_submodule(block.planned.home)
        if block.planned.site.element is None:
            home.add_module(CHILD, block)
        else:
            if CHILD not in home._modules:
                home.add_module(CHILD, nn.ModuleDict())
            home.get_submodule(CHILD).add_module(str(block.planned.site.element), block)
        _hook(model, block)


def detach_awb(model: nn.Module) -> nn.Module:
    """Remove all blocks and their hooks; the model is exactly what it was before `attach_awb`.

    Freezing has its own inverse, `unfreeze_backbone`.

    Raises:
        AWBError: The model has no blocks, or is wrapped in DistributedDataParallel.
    """
    blocks = awb_blocks(model)
    if type(model).__name__ == "DistributedDataParallel":
        raise AWBError("DistributedDataParallel goes on waiting for the blocks' gradients: detach, then wrap anew")
    guards = _guards(model)
    if not blocks and not guards:
        raise AWBError(_no_blocks(model))
    guarded = {id(block) for root, guard in guards for block in awb_blocks(root).values() if guard.planned}
    for path, block in blocks.items():
        if id(block) not in guarded:
            raise AWBError(f"block {path} was attached to a model around this {type(model).__name__}: detach it there")
    ours = {id(block) for block in blocks.values()}
    for module in list(model.modules()):
        child = module._modules.get(CHILD)
        if child is not None and ours.intersection(map(id, (child, *child.children()))):
            delattr(module, CHILD)
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key in [k for k, hook in hooks.items() if isinstance(hook, BlockHook | GridHook | HookGuard)]:
                del hooks[key]
                module._forward_pre_hooks_with_kwargs.pop(key, None)
    return model


def rehook_awb(model: nn.Module) -> nn.Module:
    """Hook the blocks again after a conversion replaced the modules that they follow.

    Raises:
        LostBlockError: A block itself is gone.
    """
    require_module(model)
    for root, guard in _guards(model):
        blocks = awb_blocks(root)
        for path in guard.lost(root):
            if path in blocks:
                _hook(root, blocks[path])
        guard.check(root)
    return model


@contextmanager
def awb_disabled(model: nn.Module) -> Iterator[nn.Module]:
    """Run the model without its blocks inside the context; may be nested.

    Raises:
        AWBError: The model has no blocks.
    """
    before = [(block, block.enabled) for block in attached_blocks(model).values()]
    try:
        for block, _ in before:
            block.enabled = False
        yield model
    finally:
        for block, enabled in before:
            block.enabled = enabled


def awb_blocks(model: nn.Module) -> dict[str, AWB]:
    """The blocks in a model by their path; empty if there are none."""
    require_module(model)
    return {name: module for name, module in model.named_modules() if isinstance(module, AWB)}


def attached_blocks(model: nn.Module) -> dict[str, AWB]:
    """`awb_blocks`, made sure that there are some and that all of them run.

    Raises:
        AWBError: There are none.
        LostBlockError: One has lost its hook.
    """
    blocks = awb_blocks(model)
    for root, guard in _guards(model):
        guard.check(root)
    if not blocks:
        raise AWBError(_no_blocks(model))
    return blocks


def summary(model: nn.Module) -> Table:
    """The attached blocks: stage, site, channels, reduction, layout, parameters and MACs.

    Returns:
        A table that prints itself; MACs are multiply–accumulates of one image at the traced input size.

    Raises:
        AWBError: The model has no blocks, or one no longer runs.
    """
    return attached_plan(model).table()


def attached_plan(model: nn.Module) -> AttachmentPlan:
    """The plan by which the model's blocks were attached."""
    blocks = attached_blocks(model).values()
    return AttachmentPlan(backbone_name(model), tuple(block.planned for block in blocks))


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


def _hook(root: nn.Module, block: AWB) -> None:
    """Register what is missing of the block's hooks: on its site, on its grid's source, and on the root."""
    planned = block.planned
    site = root.get_submodule(planned.site.module)
    hook = BlockHook(planned.path_below_site, planned.site.element)
    if not any(isinstance(h, BlockHook) and h.path == hook.path for h in site._forward_hooks.values()):
        # first, so that hooks that collect features see what the block returns
        site.register_forward_hook(hook, prepend=True)
    if planned.grid_source is not None:
        name, element = planned.grid_source
        source = root.get_submodule(name)
        grid_hooks = (h for h in source._forward_hooks.values() if isinstance(h, GridHook) and h.element == element)
        grid_hook = next(grid_hooks, None)
        if grid_hook is None:
            grid_hook = GridHook(block.grid, element)
            source.register_forward_hook(grid_hook)
        block.grid = grid_hook.grid
    guard = next((h for h in root._forward_pre_hooks.values() if isinstance(h, HookGuard)), None)
    if guard is None:
        guard = HookGuard({})
        root.register_forward_pre_hook(guard, with_kwargs=True)
    guard.planned[planned.path] = planned


def _guards(model: nn.Module) -> list[tuple[nn.Module, HookGuard]]:
    """The modules that were attached to, with their guards."""
    return [(m, h) for m in model.modules() for h in m._forward_pre_hooks.values() if isinstance(h, HookGuard)]


def _no_blocks(model: nn.Module) -> str:
    return f"{type(model).__name__} has no attention blocks; attach them with attach_awb(model)"
