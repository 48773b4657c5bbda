"""What blocks cost: parameters and multiply–accumulates, counted by fvcore."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from awb.attach import attach_awb, awb_blocks
from awb.macs import count_macs_by_module
from awb.plan import Stages
from awb.stages.inputs import Size, trace_model
from awb.table import Table


def profile_placements(
    factory: Callable[[], nn.Module],
    placements: Mapping[str, Stages | None] | Iterable[Stages | None],
    input_size: Size | None = None,
    *,
    latency: bool = False,
    **attach_kwargs: Any,
) -> Table:
    """Parameters and MACs of a backbone under several placements.

    Args:
        factory: Makes a fresh model, e.g. `lambda: torchvision.models.densenet121(num_classes=14)`.
        placements: `stages` arguments of `attach_awb`, or a mapping from a label to one; None for the plain
            backbone.
        input_size: Side or (height, width) of the input in pixels; by default what the model was built for.
        latency: Also time the forward pass of one image on the model's device (median of 5, in ms).
        **attach_kwargs: Further arguments of `attach_awb`.

    Returns:
        A row a placement: parameters (total, trainable, in blocks) and MACs of one image in eval mode (total,
        backbone, blocks). Operators that fvcore does not count are listed below the table.
    """
    labelled = placements if isinstance(placements, Mapping) else {_label(p): p for p in placements}
    headers = ["placement", "params", "trainable", "AWB params", "MACs", "backbone MACs", "AWB MACs"]
    rows, missed = [], set()
    for label, stages in labelled.items():
        model = factory()
        if stages is not None:
            attach_awb(model, stages, input_size=input_size, **attach_kwargs)
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
