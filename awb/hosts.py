"""Modules after which something runs: the one forward hook of the library, and the class that keeps it in place.

A host's class is replaced in place by a subclass of it with the same name, as torch's parametrisations and FSDP2 do:
`isinstance`, attributes and state-dict keys stay. The subclass puts the hook back if a tool has cleared hooks, and its
type differs, so that what replaces layers by their exact type (FX fusion, FX and eager quantisation) leaves it alone.

Everything here is plain data, never a closure: a deepcopy of the model runs its own blocks, and pickling works.
"""

from __future__ import annotations

import copy
import copyreg
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from torch import Tensor, nn

from awb.errors import AWBError, LostBlockError
from awb.token_grid import TokenGrid
from awb.wrappers import follow, named_active_modules

_HOOK, _OWN = "_awb_hook", "_awb_own_class"
_PUTTING = threading.Lock()


class After(Protocol):
    """What runs after a host."""

    def __call__(self, host: nn.Module, output: Any) -> Any:
        """Take the host's output, and return the one to go on with."""


@dataclass
class RunBlock:
    """Pass the output, or one element of it, through a block below the host.

    Attributes:
        name: The block's path in the model that it was attached to; no other block there has it.
        path: Its path relative to the host.
        element: Index or key of the tensor in the output; None if the output is a tensor.
        grid: The grid of its tokens; None if the output is a map.
        num_prefix_tokens: Tokens in front of the grid.
    """

    name: str
    path: str
    element: int | str | None
    grid: TokenGrid | None = None
    num_prefix_tokens: int = 0

    def __call__(self, host: nn.Module, output: Any) -> Any:
        block = follow(host, self.path)
        if block is None:
            raise LostBlockError(f"block {self.name} is no longer at {self.path!r} below the module that it follows")
        x = output if self.element is None else output[self.element]
        y = block(x) if self.grid is None else self._on_tokens(block, x, self.grid)
        return y if self.element is None else replace_element(output, self.element, y)

    def _on_tokens(self, block: nn.Module, tokens: Tensor, grid: TokenGrid) -> Tensor:
        y: Tensor = block(tokens, grid=grid.of(tokens, self.num_prefix_tokens, self.name))
        grid.keep(y)
        return y


@dataclass
class NoteGrid:
    """Note the grid of the N×C×H×W output that becomes the tokens, or that is returned beside them.

    Attributes:
        grid: Where blocks read it.
        element: Index or key of the map, or of height and width, in the output; None if the output is the map.
    """

    grid: TokenGrid
    element: int | str | None

    def __call__(self, host: nn.Module, output: Any) -> Any:
        shown = output if self.element is None else output[self.element]
        if shown is None:
            raise AWBError(f"{type(host).__name__} shows no token grid for this input: give it whole images")
        if isinstance(shown, list | tuple):
            self.grid.note((shown[0], shown[1]), next(value for value in output if isinstance(value, Tensor)))
        elif isinstance(shown, Tensor) and shown.ndim != 4:
            raise AWBError(f"{self.grid.source} returns {tuple(shown.shape)}, which shows no token grid: attach anew")
        else:
            self.grid.note((shown.shape[2], shown.shape[3]), shown)
        return output


class Hook:
    """What torch.jit.script says of a hook: it compiles functions only, by their name."""

    @property
    def __name__(self) -> str:
        raise AttributeError(
            "torch.jit.script is deprecated and cannot compile awb's hooks: use torch.export or torch.jit.trace"
        )


class RunAfter(Hook):
    """The forward hook on a host.

    Args:
        steps: What runs after the host, in order.
    """

    def __init__(self, steps: list[After]) -> None:
        self.steps = steps

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        for step in self.steps:
            output = step(module, output)
        return output


def own_class(module: object) -> type:
    """The class of a module, without what makes it a host."""
    return getattr(type(module), _OWN, type(module))


def is_host(module: nn.Module) -> bool:
    """Whether the module is a host, maybe under a class that another tool has put over it."""
    return hasattr(type(module), _OWN)


def is_baked(module: nn.Module) -> bool:
    """Whether this is a layer made of a host and its blocks, by `bake`."""
    return "baked_steps" in vars(module)


def require_unbaked(model: nn.Module) -> None:
    """Refuse a model whose blocks are ordinary layers by now.

    Raises:
        AWBError: They are.
    """
    if any(is_baked(module) for module in model.modules()):
        raise AWBError(
            f"the blocks of this {type(model).__name__} are baked in, for good: save its state_dict(); save_awb and "
            "detach_awb come before bake"
        )


def add_step(module: nn.Module, step: After) -> None:
    """Let a step run after the module, behind those that already do.

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
        AWBError: It cannot.
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
    """The hook of a host, in place or cleared; that of another module if it has one; None if there is none."""
    if is_host(module):
        hook: RunAfter | None = module.__dict__.get(_HOOK)
        return hook
    return next((h for h in module._forward_hooks.values() if isinstance(h, RunAfter)), None)


def require_removable(module: nn.Module) -> None:
    """Refuse a host over whose class another tool has put one of its own (FSDP2, a parametrisation).

    Raises:
        AWBError: It has.
    """
    if is_host(module) and _OWN not in vars(type(module)):
        raise AWBError(
            f"the class of a {own_class(module).__name__} was replaced after attaching, by {type(module).__name__} of "
            f"{type(module).__module__}: undo that first"
        )


def remove_steps(module: nn.Module) -> None:
    """Make a host what it was."""
    for key in [key for key, hook in module._forward_hooks.items() if isinstance(hook, RunAfter)]:
        del module._forward_hooks[key]
    module.__dict__.pop(_HOOK, None)
    if is_host(module):
        module.__class__ = own_class(module)


def steps_in(model: nn.Module) -> Iterator[tuple[str, nn.Module, After]]:
    """(path, host, step) of everything that runs after modules of a model."""
    for path, module in named_active_modules(model):
        if is_baked(module):
            yield from ((path, module, step) for step in module.baked_steps)  # type: ignore[union-attr]
        elif (hook := hook_of(module)) is not None:
            yield from ((path, module, step) for step in hook.steps)


@cache
def host_class(cls: Any) -> Any:
    """The subclass of a module's class whose instances are hosts."""

    class HostOf(cls):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            hook = self.__dict__.get(_HOOK)  # none where torch.compile of this layer keeps the call of a former host
            if hook is not None and not any(h is hook for h in self._forward_hooks.values()):  # a tool has cleared all
                _put_first(self, hook)
            return cls.__call__(self, *args, **kwargs)

        def __reduce_ex__(self, protocol: Any) -> Any:
            reduced = super().__reduce_ex__(protocol)
            if isinstance(reduced, tuple) and reduced[0] is copyreg.__newobj__:  # type: ignore[attr-defined]
                return (_new_host, (cls, *reduced[1][1:]), *reduced[2:])
            return reduced

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(HostOf, name, getattr(cls, name))
    setattr(HostOf, _OWN, cls)
    return HostOf


def _new_host(cls: type, *args: Any) -> Any:
    host = host_class(cls)
    return host.__new__(host, *args)


def _put_first(module: nn.Module, hook: RunAfter) -> None:
    with _PUTTING:  # two threads may find it missing
        if not any(h is hook for h in module._forward_hooks.values()):
            # first, so that hooks that collect features see what the block returns
            module.register_forward_hook(hook, prepend=True)


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
