"""Bake blocks in: make them ordinary layers of the module tree, for deployment and for tools that walk it."""

from __future__ import annotations

from typing import Any

from torch import nn

from awb.attach import attached_blocks
from awb.block_plan import CHILD
from awb.errors import AWBError
from awb.hooks.changed_weights import forget_weights
from awb.hooks.guards import remove_guards
from awb.hooks.hosts import hook_of, is_baked, remove_steps, require_removable, steps_in
from awb.hooks.steps import RunBlock, Step
from awb.plan import check_unwrapped
from awb.private_apis import HOOKS_BEHIND, children
from awb.wrappers import follow, innermost


class Baked(nn.Module):
    """A layer followed by its blocks.

    It has the attributes of the layer too, since its parent may read them.

    Args:
        layer: Module of the backbone.
        blocks: The blocks, by the names that they get here.
        steps: The steps that run after the layer, in order.
    """

    def __init__(self, layer: nn.Module, blocks: dict[str, nn.Module], steps: list[Step]) -> None:
        super().__init__()
        self.layer = layer
        for name, block in blocks.items():
            self.add_module(name, block)
        self.baked_steps = steps
        self.training = layer.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = self.layer(*args, **kwargs)
        for step in self.baked_steps:
            output = step(self, output)
        return output

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)


def bake(model: nn.Module) -> nn.Module:
    """Turn the blocks into ordinary layers, in place and for good, without hooks and with outputs equal to the bit.

    For deployment (`torch.export`, ONNX, TorchScript tracing) and for tools that replace or walk layers (FX fusion
    and quantisation, pruning). Save the blocks before: afterwards there are `state_dict()` and `torch.save(model)`.

    A layer that blocks follow becomes `Baked(layer, awb)`. Keys of the state dict change below it alone: `<site>.…`
    becomes `<site>.layer.…`, and `<home>.awb.…` becomes `<site>.awb.…`; so do those of the layer that shows a
    transformer its token grid.

    Args:
        model: A model with blocks.

    Returns:
        The model.

    Raises:
        AWBError: It has no blocks, is wrapped or compiled (bake before), or is baked already.
        LostBlockError: A block no longer runs.

    Examples:
        >>> import torch, torchvision, awb
        >>> model = awb.attach_awb(torchvision.models.resnet18(), stages=[4]).eval()
        >>> images = torch.randn(1, 3, 64, 64)
        >>> before = model(images)
        >>> torch.equal(awb.bake(model)(images), before)
        True
        >>> [name for name, _ in model.layer4[1].named_children()]
        ['layer', 'awb']
    """
    attached_blocks(model)
    if any(is_baked(m) for m in model.modules()):
        raise AWBError(f"the blocks of this {type(model).__name__} are baked in already")
    check_unwrapped(model)
    hosts = {id(host): host for _, host, _ in steps_in(model)}
    for host in hosts.values():
        require_removable(host)
        if host is model:
            raise AWBError(f"a block runs after this {type(model).__name__} itself: bake the model around it")
    replaced = {key: _baked(host) for key, host in hosts.items()}
    for module in list(model.modules()):
        for name, child in children(module).items():
            if id(child) in replaced and not isinstance(module, Baked):
                children(module)[name] = replaced[id(child)]
    remove_guards(model)
    forget_weights(model)
    return model


def _baked(host: nn.Module) -> Baked:
    hook = hook_of(host)
    assert hook is not None
    steps = list(hook.steps)
    remove_steps(host)
    blocks: dict[str, nn.Module] = {}
    for step in steps:
        if isinstance(step, RunBlock):
            home, name, path = _split(host, step.path)
            child = children(home).pop(name, None)  # blocks after several elements share one
            blocks |= {} if child is None else {name: child}
            step.path = path
    baked = Baked(host, blocks, steps)
    for name in HOOKS_BEHIND:  # what a tool has put behind the layer goes behind the blocks, where it ran before
        baked.__dict__[name], host.__dict__[name] = host.__dict__[name], baked.__dict__[name]
    return baked


def _split(host: nn.Module, path: str) -> tuple[nn.Module, str, str]:
    """Home of a block, the name of the home's child that contains the block, and the path from that name on."""
    names = path.split(".")
    at = max(i for i, name in enumerate(names) if name.startswith(CHILD))
    home = follow(host, ".".join(names[:at]))
    assert home is not None
    return innermost(home), names[at], ".".join(names[at:])
