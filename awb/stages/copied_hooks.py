"""Forward hooks in a copy of a model: the model's own ones run there, and see the copy instead of the model.

A hook of the user (a logger, a counter) has no place in a copy. But a model may read what its own hooks have stored:
then they have to run, and to store it in the copy. A hook counts as the model's own if it refers to something of the
model: it is a method of one of its modules, or a function or object that refers to one, or to a list or dictionary of
theirs.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any, Literal

from torch import nn

from awb.private_apis import ALL_HOOKS, FORWARD_HOOKS
from awb.stages.side_effects import OutsideState

Which = Literal["own", "all", "none"]
# hooks of these modules keep outputs in a collector of the forward in progress, to which no object of the model refers
_COLLECTORS = ("transformers.utils.output_capturing",)


def without_hooks(model: nn.Module) -> dict[int, Any]:
    """Memo for `copy.deepcopy` that leaves out all hooks, and with them everything that they refer to."""
    return {id(vars(m)[kind]): OrderedDict() for m in model.modules() for kind in ALL_HOOKS if kind in vars(m)}


class HooksOfCopy:
    """The hooks of a copy's modules, which see the copy where the model's hooks see the model.

    Args:
        model: The model.
        duplicate: The deep copy of the model.
        memo: Memo of the copy: the copy of each object of the model.
        which: Hooks to give it: the model's own, all or none.

    Attributes:
        which: Hooks that it was given: the model's own, all or none.
        given: Number of hooks that the copy has.
        left_out: Number of hooks that are not in the copy.
    """

    def __init__(self, model: nn.Module, duplicate: nn.Module, memo: dict[int, Any], which: Which) -> None:
        self.which = which
        self.given = self.left_out = 0
        self._outside = OutsideState()
        copies = dict(duplicate.named_modules())
        binding = _Binding(memo, self._outside)
        for module in copies.values():
            for kind in ALL_HOOKS:
                setattr(module, kind, OrderedDict())  # one that copies itself may have copied them
        for name, module in model.named_modules():
            if name in copies:
                binding.bind_functions(module, copies[name])
                self._give(module, copies[name], binding, which)

    def running(self) -> Any:
        """Context that undoes what the hooks do outside the model."""
        return self._outside.as_before()

    def _give(self, module: nn.Module, duplicate: nn.Module, binding: _Binding, which: Which) -> None:
        for kind in FORWARD_HOOKS:
            for key, hook in vars(module)[kind].items():
                if type(hook).__module__.startswith("awb."):  # a copy runs without blocks
                    continue
                bound, refers = binding.bind_hook(hook)
                own = refers or getattr(hook, "__module__", None) in _COLLECTORS
                if which == "all" or (which == "own" and own):
                    vars(duplicate)[kind][key] = bound
                    self.given += 1
                else:
                    self.left_out += 1


class _Binding:
    """Rebinds functions and objects from the model to its copy."""

    def __init__(self, memo: dict[int, Any], outside: OutsideState) -> None:
        self._memo, self._outside = memo, outside
        self._shared: dict[int, tuple[Any, bool]] = {}
        self._refers = False

    def bind_functions(self, module: nn.Module, duplicate: nn.Module) -> None:
        """Bind functions put in place of methods: they may refer to the model, and `deepcopy` does not copy them."""
        for name, value in vars(module).items():
            if isinstance(value, FunctionType) and value.__closure__:
                vars(duplicate)[name] = self._bound(value)

    def bind_hook(self, hook: Any) -> tuple[Any, bool]:
        """Hook for the copy, and True if it refers to something in the model."""
        self._refers = False
        return self._bound(hook), self._refers

    def _bound(self, hook: Any) -> Any:
        if id(hook) in self._memo or isinstance(hook, nn.Module):
            return self._seen(hook)
        if isinstance(hook, FunctionType):
            return self._bound_function(hook)
        if isinstance(hook, MethodType):
            self._outside.note_code(hook.__func__, type(hook.__self__))
            return MethodType(self._bound(hook.__func__), self._bound(hook.__self__))
        if isinstance(hook, partial):
            keywords = {name: self._seen(value) for name, value in hook.keywords.items()}
            return partial(self._bound(hook.func), *map(self._seen, hook.args), **keywords)
        if isinstance(hook, type) or not hasattr(hook, "__dict__"):
            return hook
        return self._once(hook, self._bound_object)

    def _bound_object(self, hook: Any) -> Iterator[Any]:
        self._outside.note_code(type(hook).__call__, type(hook))
        bound = copy.copy(hook)
        yield bound
        vars(bound).update({name: self._seen(value) for name, value in vars(hook).items()})

    def _bound_function(self, function: FunctionType) -> FunctionType:
        self._outside.note_code(function)
        cells = tuple(self._once(cell, self._bound_cell) for cell in function.__closure__ or ())
        used = {name: function.__globals__.get(name) for name in function.__code__.co_names}
        copied = {name: self._seen(value) for name, value in used.items() if id(value) in self._memo}
        namespace = {**function.__globals__, **copied} if copied else function.__globals__
        bound = FunctionType(function.__code__, namespace, function.__name__, None, cells)
        if function.__defaults__:
            bound.__defaults__ = tuple(map(self._seen, function.__defaults__))
        if function.__kwdefaults__:
            bound.__kwdefaults__ = {name: self._seen(value) for name, value in function.__kwdefaults__.items()}
        return bound

    def _bound_cell(self, cell: CellType) -> Iterator[CellType]:
        bound = CellType()
        yield bound
        if cell != CellType():  # which has none
            bound.cell_contents = self._seen(cell.cell_contents)

    def _once(self, shared: Any, bind: Callable[[Any], Iterator[Any]]) -> Any:
        """Bind a cell or object once, so that hooks share its copy as well; `bind` yields the copy, then fills it."""
        before = self._refers
        if id(shared) not in self._shared:
            self._refers = False
            for bound in bind(shared):
                self._shared[id(shared)] = bound, False  # known before its contents, which may refer to it
            self._shared[id(shared)] = self._shared[id(shared)][0], self._refers
        bound, refers = self._shared[id(shared)]
        self._refers = before or refers
        return bound

    def _seen(self, value: Any) -> Any:
        """Object that a copied hook sees in place of `value`."""
        if id(value) in self._memo:
            self._refers = True
            return self._memo[id(value)]
        if isinstance(value, FunctionType | MethodType | partial):
            return self._bound(value)
        self._outside.note(value)
        return value
