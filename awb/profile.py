"""Costs of blocks: parameters, multiply–accumulates (counted by fvcore) and latency."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from awb.attach import attach_awb, awb_blocks
from awb.errors import AWBError
from awb.macs import count_macs_by_module
from awb.places import Stage
from awb.requested_kinds import Stages
from awb.stages.example_inputs import Size, trace_model
from awb.table import Table

_NOT_OF_KINDS = ("init", "example_input", "allow_dead", "replace")  # what attach_awb takes whatever the kinds are


def profile_placements(
    factory: nn.Module | Callable[[], nn.Module],
    placements: Mapping[str, Stages | None] | Iterable[Stages | None],
    input_size: Size | None = None,
    *,
    latency: bool = False,
    **attach_kwargs: Any,
) -> Table:
    """Compare the parameters and MACs of a backbone under several placements of blocks.

    Args:
        factory: A model, which is copied; or a function that makes a fresh one, e.g.
            `lambda: torchvision.models.densenet121(num_classes=14)`.
        placements: `stages` arguments of `attach_awb`, or a mapping from a label to one; None for the plain
            backbone.
        input_size: Side or (height, width) of the input in pixels; by default what the model was built for.
        latency: Also time the forward pass of one image on the model's device (median of 5, in ms).
        **attach_kwargs: Further arguments of `attach_awb`; `attention` and its options do not apply to placements
            that name their kinds.

    Returns:
        A table with one row per placement: parameters (total, trainable, in blocks) and MACs of one image in eval
        mode (total, backbone, blocks). Operators that fvcore does not count are listed below the table.

    Raises:
        AWBError: `placements` is a single placement, or `attach_awb` refuses one.
    """
    make = _maker(factory)
    labelled = _labelled(placements)
    for_others = any(p is not None and not isinstance(p, Mapping) for p in labelled.values())
    headers = ["placement", "params", "trainable", "AWB params", "MACs", "backbone MACs", "AWB MACs"]
    rows, missed = [], set()
    for label, stages in labelled.items():
        model = make()
        if stages is not None:
            leave_out = isinstance(stages, Mapping) and for_others
            kwargs = {k: v for k, v in attach_kwargs.items() if not leave_out or k in _NOT_OF_KINDS}
            attach_awb(model, stages, input_size=input_size, **kwargs)
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        example = trace_model(model, input_size).inputs[0]
        image = torch.zeros(1, *example.shape[1:], device=device)
        blocks = awb_blocks(model)
        by_module, uncounted = count_macs_by_module(model, image)
        missed |= uncounted
        awb_macs = sum(by_module[path] for path in blocks)
        awb_params = sum(p.numel() for block in blocks.values() for p in block.parameters())
        params = list(model.parameters())
        trainable = sum(p.numel() for p in params if p.requires_grad)
        row = [label, sum(p.numel() for p in params), trainable, awb_params]
        row += [by_module[""], by_module[""] - awb_macs, awb_macs]
        rows.append((*row, _latency(model, image)) if latency else tuple(row))
    if latency:
        headers.append("latency (ms)")
    notes = (f"not counted in MACs: {', '.join(sorted(missed))}",) if missed else ()
    return Table(tuple(headers), tuple(rows), notes)


def _maker(factory: nn.Module | Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    if isinstance(factory, nn.Module):
        return lambda: copy.deepcopy(factory)
    if not callable(factory):
        raise AWBError(f"factory is a {type(factory).__name__}; expected a model, or a function that makes one")
    return factory


def _labelled(placements: Mapping[str, Stages | None] | Iterable[Stages | None]) -> Mapping[str, Stages | None]:
    if isinstance(placements, Mapping):
        odd = [label for label in placements if not isinstance(label, str)]
        if odd:
            raise AWBError(
                f"placements: {odd[0]!r} is not a label; a placement with a kind for each stage is one of a list, "
                f"[{placements!r}]"
            )
        return placements
    if isinstance(placements, str | Stage) or not isinstance(placements, Iterable):
        raise AWBError(f"placements={placements!r}: expected a list of placements, [{placements!r}], or a mapping")
    return {_label(p): p for p in placements}


def _label(stages: Stages | None) -> str:
    if stages is None:
        return "plain"
    return stages if isinstance(stages, str) else str(stages)


@torch.inference_mode()
def _latency(model: nn.Module, image: Tensor, repeats: int = 5) -> float:
    was_training = model.training
    model.eval()
    times = []
    for _ in range(repeats + 1):  # the first is a warm-up
        start = time.perf_counter()
        model(image)
        if image.is_cuda:
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - start))
    model.train(was_training)
    return statistics.median(times[1:])
