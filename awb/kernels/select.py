"""Whether the polyphase operators run: where they can, and by a few measured rules where they are faster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Backend = Literal["auto", "stock", "polyphase"]
BACKENDS: tuple[str, ...] = get_args(Backend)

_CPU = torch.backends.cpu.get_cpu_capability() if torch.backends.mkldnn.is_available() else ""
# measured by benchmarks/lka.py; without AVX-512, bfloat16 was slower on both sides, and elsewhere nobody measured
_FASTER = {"AVX2": (torch.float32,), "AVX512": (torch.float32, torch.bfloat16)}.get(_CPU, ())
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_FEWEST_CHANNELS, _SMALLEST_MAP = 16, 12_000  # less, and the calls cost more than is gained


def use_polyphase(backend: Backend, x: Tensor, convolutions: Iterable[nn.Module]) -> bool:
    """Whether to compute by phases.

    Args:
        backend: `"stock"`: never; `"polyphase"`: wherever it can run; `"auto"`: where it is also faster.
        x: The input.
        convolutions: The modules that would be passed by; whatever hooks or replaces one must see it run.
    """
    if backend == "stock" or not (_is_plain(x) and all(map(_is_plain_conv, convolutions))):
        return False
    return backend == "polyphase" or _is_faster(x)


def _is_plain(x: Tensor) -> bool:
    """Not what an FX trace or a distributed tensor passes, and nobody records or transforms the operators.

    In float16 intermediate maps overflow, and stay with the code that clamps them.

    A recorded network should say what it computes: `torch.export`, `torch.jit.trace` (so ONNX, and fvcore's count of
    MACs) see the three convolutions.
    """
    if type(x) not in (Tensor, nn.Parameter) or x.ndim != 4 or x.device.type not in ("cpu", "cuda"):
        return False
    if torch._C._get_tracing_state() is not None or torch.compiler.is_exporting():
        return False
    if _compute_dtype(x) is torch.float16:
        return False
    if torch.compiler.is_compiling():
        from torch.fx.experimental.symbolic_shapes import has_static_value

        return all(has_static_value(side) for side in x.shape[2:])  # inductor cannot order strides of ⌈H/3⌉
    # neither has a rule for custom gradients of this kind
    forward_mode = torch.autograd.forward_ad._current_level >= 0
    return not (forward_mode or torch._C._are_functorch_transforms_active())


def _is_plain_conv(module: nn.Module) -> bool:
    """Whether calling it computes F.conv2d of its weight, padded with zeros, and nothing else sees the call."""
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and type(module.weight) in (Tensor, nn.Parameter)  # no quantised or distributed one
        and "forward" not in vars(module)  # replaced, as accelerate's offloading does
        and not any(getattr(module, hooks) for hooks in _HOOKS)
        and not torch.nn.modules.module._has_any_global_hook()
    )


def _is_faster(x: Tensor) -> bool:
    large = x.shape[1] >= _FEWEST_CHANNELS and x.numel() >= _SMALLEST_MAP
    return large and x.device.type == "cpu" and _compute_dtype(x) in _FASTER


def _compute_dtype(x: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
