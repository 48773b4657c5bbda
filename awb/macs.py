"""Count multiply–accumulates (MACs) with fvcore."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping

from torch import Tensor, nn


def count_macs(module: nn.Module, *inputs: Tensor) -> tuple[int, set[str]]:
    """Count the multiply–accumulates of a forward pass in eval mode; also name the operators left uncounted."""
    by_module, missed = count_macs_by_module(module, *inputs)
    return by_module[""], missed


def count_macs_by_module(module: nn.Module, *inputs: Tensor) -> tuple[Mapping[str, int], set[str]]:
    """`count_macs` of each submodule, by path; `""` is the whole module.

    Batch norm counts in train mode and elsewhere folds away, so the count is taken in eval mode, on a copy.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore's tracer uses torch.jit, which is deprecated
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(copy.deepcopy(module).eval(), inputs)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.set_op_handle("aten::nan_to_num", None)  # multiplies nothing
        counts = analysis.by_module()
        missed = set(analysis.unsupported_ops())
    return {name: int(count) for name, count in counts.items()}, missed
