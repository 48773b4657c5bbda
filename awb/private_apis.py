"""Private names of PyTorch, timm, accelerate and transformers that awb relies on, all in this file.

A release that changes one of them breaks this room and no other: `tests/test_private_apis.py` refuses such a name
anywhere else in the library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["TorchDispatchMode", "tree_leaves", "tree_map_only"]  # passed on; the others are defined below

# --- attributes of a module that hold its hooks -----------------------------------------------------------------------

FORWARD_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
ALL_HOOKS = (*FORWARD_HOOKS, "_backward_pre_hooks", "_backward_hooks")
# of what runs behind a module, and of how it is called
HOOKS_BEHIND = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_backward_hooks",
    "_backward_pre_hooks", "_is_full_backward_hook",
)  # fmt: skip

# --- children of wrappers that hold the wrapped module ----------------------------------------------------------------

COMPILED = "_orig_mod"
CHECKPOINTED = "_checkpoint_wrapped_module"
SHARDED = "_fsdp_wrapped_module"

# --- base classes -----------------------------------------------------------------------------------------------------

BatchNorm = nn.modules.batchnorm._BatchNorm
Convolution = nn.modules.conv._ConvNd


class ObservedModule(nn.Module):
    """Module that is notified when its tensors are changed from outside."""

    def after_conversion(self, convert: Callable[[Tensor], Tensor]) -> None:
        """Called after a function has moved or converted its tensors."""

    def before_loading(self, state_dict: Any, prefix: str) -> None:
        """Called before a state dict is loaded into it; its keys there begin with `prefix`."""

    def after_initialization(self) -> None:
        """Called after transformers has initialised, by its own rule, the tensors that a checkpoint lacked."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ObservedModule:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.after_conversion(fn)
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        self.before_loading(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    @property
    def _is_hf_initialized(self) -> bool:
        return False

    @_is_hf_initialized.setter
    def _is_hf_initialized(self, value: bool) -> None:
        self.after_initialization()


# --- modules ----------------------------------------------------------------------------------------------------------


def children(module: nn.Module) -> dict[str, nn.Module | None]:
    """The child modules by name, None included: the dictionary itself."""
    return module._modules


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """The module's own parameters by name, None included: the dictionary itself."""
    return module._parameters


def own_buffers(module: nn.Module) -> dict[str, Tensor | None]:
    """The module's own buffers by name, None included: the dictionary itself."""
    return module._buffers


def is_saved(module: nn.Module, buffer: str) -> bool:
    """True if a buffer is part of the module's state dict."""
    return buffer not in module._non_persistent_buffers_set


def forward_hooks(module: nn.Module) -> dict[int, Any]:
    """The forward hooks by key: the dictionary itself."""
    return module._forward_hooks


def forward_pre_hooks(module: nn.Module) -> dict[int, Any]:
    """The forward pre-hooks by key: the dictionary itself."""
    return module._forward_pre_hooks


def remove_forward_hooks(module: nn.Module, kind: type) -> None:
    """Remove the forward hooks of a class."""
    for key in [key for key, hook in module._forward_hooks.items() if isinstance(hook, kind)]:
        del module._forward_hooks[key]


def remove_forward_pre_hooks(module: nn.Module, kind: type) -> None:
    """Remove the forward pre-hooks of a class."""
    for key in [key for key, hook in module._forward_pre_hooks.items() if isinstance(hook, kind)]:
        del module._forward_pre_hooks[key]
        module._forward_pre_hooks_with_kwargs.pop(key, None)


def loading_hooks(module: nn.Module) -> dict[int, Any]:
    """The pre-hooks of `load_state_dict` by key, without the object that PyTorch wraps each in."""
    return {key: getattr(hook, "hook", hook) for key, hook in module._load_state_dict_pre_hooks.items()}


def remove_loading_hooks(module: nn.Module, kind: type) -> None:
    """Remove the pre-hooks of `load_state_dict` of a class."""
    for key in [key for key, hook in loading_hooks(module).items() if isinstance(hook, kind)]:
        del module._load_state_dict_pre_hooks[key]


def has_hooks(module: nn.Module) -> bool:
    """True if any hook sees a call of the module, global hooks included."""
    own = any(getattr(module, hooks) for hooks in ALL_HOOKS)
    return own or torch.nn.modules.module._has_any_global_hook()


def is_compiled(module: nn.Module) -> bool:
    """True if `torch.compile` or `Module.compile` was applied to the module."""
    return getattr(module, "_compiled_call_impl", None) is not None or hasattr(module, COMPILED)


def is_replica(module: nn.Module) -> bool:
    """True if `nn.DataParallel` made the module for one forward pass."""
    return getattr(module, "_is_replica", False)


# --- tensors and operators --------------------------------------------------------------------------------------------


def version(tensor: Tensor) -> int:
    """Number of in-place changes to a tensor so far; 0 for tensors of inference mode, which do not count them."""
    return 0 if tensor.is_inference() else tensor._version


def storage_id(tensor: Tensor) -> int:
    """Number that two tensors have in common if they share their storage."""
    return int(tensor.untyped_storage()._cdata)


@cache
def written_arguments(operator: Any) -> tuple[int, ...]:
    """Positions of the arguments that an operator writes to."""
    return tuple(i for i, argument in enumerate(operator._schema.arguments) if argument.is_write)


# --- what PyTorch is doing at present ---------------------------------------------------------------------------------


def in_backward() -> bool:
    """True if this thread runs a backward pass."""
    return torch._C._current_graph_task_id() != -1


def in_jit_trace() -> bool:
    """True while `torch.jit.trace` records."""
    return torch._C._get_tracing_state() is not None


def in_forward_mode() -> bool:
    """True if derivatives are computed in forward mode."""
    return torch.autograd.forward_ad._current_level >= 0


def in_functorch() -> bool:
    """True if a transform of `torch.func` is active."""
    return torch._C._are_functorch_transforms_active()


def have_static_values(sizes: Iterable[Any]) -> bool:
    """True if the compiler sees all sizes as numbers, not as symbols."""
    from torch.fx.experimental.symbolic_shapes import has_static_value

    return all(has_static_value(size) for size in sizes)


# --- other libraries --------------------------------------------------------------------------------------------------


def is_features_only(model: nn.Module) -> bool:
    """True if timm made the model by `features_only=True` out of a model's layers."""
    return type(model).__module__ == "timm.models._features"


def has_accelerate_hook(module: nn.Module) -> bool:
    """True if accelerate has put a hook on the module."""
    return hasattr(module, "_hf_hook")


def is_initialized(tensor: Tensor) -> bool:
    """True if transformers has given a parameter its values."""
    return getattr(tensor, "_is_hf_initialized", False)
