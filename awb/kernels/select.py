"""Choose the polyphase operators or PyTorch's: polyphase where it can run and was measured faster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from awb.private_apis import has_hooks, have_static_values, in_forward_mode, in_functorch, in_jit_trace

Backend = Literal["auto", "stock", "polyphase"]
BACKENDS: tuple[str, ...] = get_args(Backend)

_CPU = torch.backends.cpu.get_cpu_capability() if torch.backends.mkldnn.is_available() else ""
# measured by benchmarks/lka.py; without AVX-512, bfloat16 was slower on both sides, and elsewhere nobody measured
_FASTER = {"AVX2": (torch.float32,), "AVX512": (torch.float32, torch.bfloat16)}.get(_CPU, ())
_FEWEST_CHANNELS, _SMALLEST_MAP = 16, 12_000  # less, and the calls cost more than is gained


def use_polyphase(backend: Backend, x: Tensor, convolutions: Iterable[nn.Module]) -> bool:
    """True if the polyphase operators are to be used.

    Args:
        backend: `"stock"`: never; `"polyphase"`: wherever they can run; `"auto"`: where they are also faster.
        x: The input, N×C×H×W.
        convolutions: The modules that would not be called; a hook on one, or a replacement, must see it run.
    """
    if backend == "stock" or not (_is_plain(x) and all(map(_is_plain_conv, convolutions))):
        return False
    return backend == "polyphase" or _is_faster(x)


def _is_plain(x: Tensor) -> bool:
    """True if a tensor is an ordinary map, and no tool records or transforms the operators on it.

    In float16 intermediate maps overflow, and stay with the code that clamps them.

    A recorded network should say what it computes: `torch.export`, `torch.jit.trace` (so ONNX, and fvcore's count of
    MACs) see the three convolutions.
    """
    if type(x) not in (Tensor, nn.Parameter) or x.ndim != 4 or x.device.type not in ("cpu", "cuda"):
        return False
    if in_jit_trace() or torch.compiler.is_exporting():
        return False
    if _compute_dtype(x) is torch.float16:
        return False
    if torch.compiler.is_compiling():
        return have_static_values(x.shape[2:])  # inductor cannot order strides of ⌈H/3⌉
    # neither has a rule for custom gradients of this kind
    return not (in_forward_mode() or in_functorch())


def _is_plain_conv(module: nn.Module) -> bool:
    """True if a module only computes F.conv2d of its weight with zero padding, and nothing else sees the call."""
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and type(module.weight) in (Tensor, nn.Parameter)  # neither quantised nor distributed
        and "forward" not in vars(module)  # replaced, as accelerate's offloading does
        and not has_hooks(module)
    )


def _is_faster(x: Tensor) -> bool:
    large = x.shape[1] >= _FEWEST_CHANNELS and x.numel() >= _SMALLEST_MAP
    return large and x.device.type == "cpu" and _compute_dtype(x) in _FASTER


def _compute_dtype(x: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
