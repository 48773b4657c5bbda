"""Find and map tensors in arguments, outputs and models, however deep they are."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

TensorMap = Callable[[Tensor], Tensor]
_CLOSED = (str, bytes, int, float, complex, type, ModuleType, nn.Module)  # nothing of a call is in them


def tensors_in(tree: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists, mappings, dataclasses and other plain objects, in order."""
    return [tree] if isinstance(tree, Tensor) else list(_walk(tree, set()))


def _walk(tree: Any, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif id(tree) not in seen:
        seen.add(id(tree))
        for child in _children(tree):
            yield from _walk(child, seen)


def _children(tree: Any) -> Iterable[Any]:
    if tree is None or isinstance(tree, _CLOSED) or callable(tree):
        return ()
    if isinstance(tree, Mapping):
        return tree.values()
    if isinstance(tree, list | tuple | set | frozenset | deque):
        return tree
    if is_dataclass(tree):  # it may have slots
        return [getattr(tree, field.name) for field in fields(tree)]
    return getattr(tree, "__dict__", {}).values()


def map_tensors(tree: Any, tensor_map: TensorMap) -> Any:
    """Copy a tree deeply with every tensor mapped; a tensor that occurs twice is mapped once."""
    return tensor_map(tree) if isinstance(tree, Tensor) else map_copy(tree, tensor_map, tensor_map, {})


def map_copy(tree: Any, parameter_map: TensorMap, tensor_map: TensorMap, memo: dict[int, Any]) -> Any:
    """`copy.deepcopy(tree, memo)` with parameters and other tensors mapped instead of cloned."""
    with _MapTensors(parameter_map, tensor_map):
        return copy.deepcopy(tree, memo)


class _MapTensors(TorchFunctionMode):
    """Mode in which `copy.deepcopy` maps tensors by functions instead of cloning them."""

    def __init__(self, parameter_map: TensorMap, tensor_map: TensorMap) -> None:
        super().__init__()
        self.parameter_map, self.tensor_map = parameter_map, tensor_map

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.clone:  # how nn.Parameter copies itself
            return self.parameter_map(args[0])
        if func is Tensor.__deepcopy__:
            tensor, memo = args
            if id(tensor) not in memo:
                memo[id(tensor)] = self.tensor_map(tensor)
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


def first_device(model: nn.Module) -> torch.device:
    """The device of the first parameter or buffer that is not on meta; else the CPU."""
    tensors = (tensor for group in (model.parameters(), model.buffers()) for tensor in group)
    return next((tensor.device for tensor in tensors if not tensor.is_meta), torch.device("cpu"))
