"""Host modules, after which blocks run: the one forward hook of the library, and the class that keeps it in place.

A host's class is replaced in place by a subclass of it with the same name, as torch's parametrisations and FSDP2 do:
`isinstance`, attributes and state-dict keys stay. The subclass puts the hook back if a tool has cleared hooks, and its
type differs, so that what replaces layers by their exact type (FX fusion, FX and eager quantisation) leaves it alone.
"""

from __future__ import annotations

import copyreg
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

from torch import nn

from awb.errors import AWBError
from awb.hooks.hook import Hook
from awb.hooks.steps import RunBlock, Step
from awb.private_apis import forward_hooks, remove_forward_hooks
from awb.wrappers import follow, named_active_modules

_HOOK, _OWN = "_awb_hook", "_awb_own_class"
_PUTTING = threading.Lock()


class RunAfter(Hook):
    """Forward hook on a host: it runs the host's steps.

    Args:
        steps: The steps that run after the host, in order.
    """

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        for step in self.steps:
            output = step(module, output)
        return output


def own_class(module: object) -> type:
    """Class that a module had before it became a host."""
    return getattr(type(module), _OWN, type(module))


def is_host(module: nn.Module) -> bool:
    """True if a module is a host, also under a class that another tool has put over it."""
    return hasattr(type(module), _OWN)


def is_baked(module: nn.Module) -> bool:
    """True if a module is a layer that `bake` made of a host and its blocks."""
    return "baked_steps" in vars(module)


def require_unbaked(model: nn.Module) -> None:
    """Refuse a model whose blocks are baked in.

    Raises:
        AWBError: They are.
    """
    if any(is_baked(module) for module in model.modules()):
        raise AWBError(
            f"the blocks of this {type(model).__name__} are baked in, for good: save its state_dict(); save_awb and "
            "detach_awb come before bake"
        )


def add_step(module: nn.Module, step: Step) -> None:
    """Add a step that runs after a module, behind those that already do.

    Raises:
        AWBError: The module's class cannot be replaced by a subclass.
    """
    hook = hook_of(module)
    if hook is None:
        check_host(module)
        own: Any = type(module)
        module.__class__ = host_class(own)
        hook = RunAfter([])
        module.__dict__[_HOOK] = hook
        _put_first(module, hook)
    hook.steps.append(step)


def check_host(module: nn.Module) -> None:
    """Refuse a module whose class cannot be replaced by a subclass.

    Raises:
        AWBError: The class cannot be replaced.
    """
    own: Any = type(module)
    if hook_of(module) is not None:
        return
    try:
        module.__class__ = host_class(own)
    except TypeError as error:
        raise AWBError(f"nothing can run after a {own.__name__} ({error}); name another module") from error
    module.__class__ = own


def hook_of(module: nn.Module) -> RunAfter | None:
    """Hook of a host, in place or cleared; for any other module, its hook if it has one, else None."""
    if is_host(module):
        hook: RunAfter | None = module.__dict__.get(_HOOK)
        return hook
    return next((h for h in forward_hooks(module).values() if isinstance(h, RunAfter)), None)


def require_removable(module: nn.Module) -> None:
    """Refuse a host over whose class another tool has put its own (FSDP2, a parametrisation).

    Raises:
        AWBError: Another tool has put its own class over the host's.
    """
    if is_host(module) and _OWN not in vars(type(module)):
        raise AWBError(
            f"the class of a {own_class(module).__name__} was replaced after attaching, by {type(module).__name__} of "
            f"{type(module).__module__}: undo that first"
        )


def remove_steps(module: nn.Module) -> None:
    """Turn a host back into the module that it was."""
    remove_forward_hooks(module, RunAfter)
    module.__dict__.pop(_HOOK, None)
    if is_host(module):
        module.__class__ = own_class(module)


def steps_in(model: nn.Module) -> Iterator[tuple[str, nn.Module, Step]]:
    """(path of the host, host, step) for every step in a model."""
    for path, module in named_active_modules(model):
        if is_baked(module):
            yield from ((path, module, step) for step in module.baked_steps)  # type: ignore[union-attr]
        elif (hook := hook_of(module)) is not None:
            yield from ((path, module, step) for step in hook.steps)


def running_blocks(model: nn.Module) -> Iterator[tuple[str, RunBlock, nn.Module]]:
    """(path of the host, step, block) for every step in a model that runs a block."""
    for path, host, step in steps_in(model):
        block = follow(host, step.path) if isinstance(step, RunBlock) else None
        if isinstance(step, RunBlock) and block is not None:
            yield path, step, block


@cache
def host_class(cls: Any) -> Any:
    """Subclass of a module's class whose instances are hosts."""

    class HostOf(cls):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            hook = self.__dict__.get(_HOOK)  # none where torch.compile of this layer keeps the call of a former host
            if hook is not None and not any(h is hook for h in forward_hooks(self).values()):  # a tool has cleared all
                _put_first(self, hook)
            return cls.__call__(self, *args, **kwargs)

        def __reduce_ex__(self, protocol: Any) -> Any:
            reduced = super().__reduce_ex__(protocol)
            if isinstance(reduced, tuple) and reduced[0] is copyreg.__newobj__:  # type: ignore[attr-defined]
                return (new_host, (cls, *reduced[1][1:]), *reduced[2:])
            return reduced

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(HostOf, name, getattr(cls, name))
    setattr(HostOf, _OWN, cls)
    return HostOf


def new_host(cls: type, *args: Any) -> Any:
    """Make an empty host of a class, to be filled by `pickle` or `copy`."""
    host = host_class(cls)
    return host.__new__(host, *args)


def _put_first(module: nn.Module, hook: RunAfter) -> None:
    with _PUTTING:  # two threads may find it missing
        if not any(h is hook for h in forward_hooks(module).values()):
            # first, so that hooks that collect features see what the block returns
            module.register_forward_hook(hook, prepend=True)
