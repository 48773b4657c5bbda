"""The dry run: everything that can be wrong with an attachment is found here, before anything is touched."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from awb.attention.registry import create_attention
from awb.block import AWB
from awb.errors import AWBError, require_module
from awb.kinds import DEFAULT, Request, Stages, read_requests, refuse_kinds_as_stages
from awb.macs import count_macs
from awb.planned import CHILD, Init, PlannedBlock
from awb.stages.copying import copy_structure, to_meta
from awb.stages.describe import check_site, grid_source
from awb.stages.homes import find_homes
from awb.stages.inputs import Size, trace_model
from awb.stages.select import select_stages
from awb.stages.trace import Trace
from awb.stages.types import Stage
from awb.table import Table

_WRAPPERS = {"DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "FSDPModule"}


@dataclass(frozen=True)
class AttachmentPlan:
    """What `attach_awb` does to a model; prints as a table.

    Attributes:
        backbone: Class of the model.
        blocks: The blocks, in the order of the stages.
    """

    backbone: str
    blocks: tuple[PlannedBlock, ...]

    def table(self, trainable: Sequence[int] | None = None) -> Table:
        """Stage, site, channels, reduction, layout, attention, init, parameters and MACs of each block.

        MACs are multiply–accumulates of one image, counted by fvcore at the site's grid.

        Args:
            trainable: For a column of its own: how many parameters of each attached block train.
        """
        rows: list[tuple[Any, ...]] = []
        missed: set[str] = set()
        for block in self.blocks:
            with torch.random.fork_rng(devices=[]):
                module = AWB(block).eval()
            macs, uncounted = count_macs(module.attention, torch.zeros(1, block.site.channels, *block.site.grid))
            missed |= uncounted
            params = sum(p.numel() for p in module.parameters())
            height, width = block.site.grid
            rows.append(
                (block.stage, str(block.site), block.site.channels, block.reduction, block.site.layout,
                 f"{height}×{width}", block.attention, block.init, params, macs)
            )  # fmt: skip
        headers: tuple[str, ...] = (
            "stage", "site", "channels", "reduction", "layout", "grid", "attention", "init", "params", "MACs",
        )  # fmt: skip
        if trainable is not None:
            headers = (*headers[:-1], "trainable", "MACs")
            rows = [(*row[:-1], count, row[-1]) for row, count in zip(rows, trainable, strict=True)]
        notes = (f"not counted in MACs: {', '.join(sorted(missed))}",) if missed else ()
        return Table(headers, tuple(rows), notes)

    def __str__(self) -> str:
        return str(self.table())


def plan_awb(
    model: nn.Module,
    stages: Stages = "last",
    *,
    attention: str = DEFAULT,
    init: Init = "identity",
    input_size: Size | None = None,
    example_input: Any = None,
    allow_dead: bool = False,
    replace: bool = False,
    **attention_kwargs: Any,
) -> AttachmentPlan:
    """The dry run of `attach_awb`: same arguments, same errors, and nothing is changed.

    Returns:
        The plan; `print(plan)` shows a table of what would be attached and what it costs.

    Examples:
        >>> import torchvision, awb
        >>> plan = awb.plan_awb(torchvision.models.densenet121(), stages=[3, 4])
        >>> [block.path for block in plan.blocks][0]
        'features.denseblock3.denselayer24.awb'
    """
    check_unwrapped(model)
    if init not in ("identity", "default"):
        raise AWBError(f"init={init!r}: expected 'identity' or 'default'")
    arguments = [p.name for p in inspect.signature(plan_awb).parameters.values() if p.kind is not p.VAR_KEYWORD]
    requests = read_requests(stages, attention, attention_kwargs, arguments[1:])
    refuse_kinds_as_stages(model, requests)
    traced = trace_model(model, input_size, example_input)
    chosen = select_stages(model, traced, [request.selectors for request in requests], allow_dead)
    return complete_plan(model, traced, _requested(requests, chosen, init), replace)


def _requested(requests: Sequence[Request], chosen: Sequence[Sequence[Stage]], init: Init) -> tuple[PlannedBlock, ...]:
    """The blocks that are asked for, those at numbered stages first.

    Raises:
        AWBError: Two requests ask for different kinds at one place.
    """
    asked: dict[tuple[str, int | str | None], Request] = {}
    blocks = []
    for request, stages in zip(requests, chosen, strict=True):
        for stage, site in ((s, site) for s in stages for site in s.sites):
            other = asked.setdefault((site.module, site.element), request)
            if other.kinds != request.kinds:
                first, second = ([kind.name for kind in r.kinds] for r in (other, request))
                raise AWBError(
                    f"{other.key!r} and {request.key!r} both name the place after {site}, with different kinds: name "
                    f"it once, for both in order as a list, {{{request.key!r}: {first + second}}}"
                )
            if other is not request:
                continue
            for position, kind in enumerate(request.kinds):
                block = PlannedBlock(
                    stage.index, stage.name, stage.reduction, site, site.module, None, kind.name, kind.options, init,
                    position=position,
                )  # fmt: skip
                blocks.append(block)
    return tuple(sorted(blocks, key=lambda block: (block.stage is None, block.stage or 0)))


def complete_plan(
    model: nn.Module, traced: Trace, blocks: tuple[PlannedBlock, ...], replace: bool = False
) -> AttachmentPlan:
    """Settle where blocks sit and read their token grid, and check all that can go wrong.

    Raises:
        AWBError: A block cannot be built, does not keep the map's shape, or its place is taken.
    """
    blocks = tuple(dataclasses.replace(block, site=check_site(traced, block.site, block.reduction)) for block in blocks)
    homes = find_homes(traced, [block.site.module for block in blocks], CHILD)
    placed = tuple(_with_grid(dataclasses.replace(block, home=homes[block.site.module]), traced) for block in blocks)
    _check_free(model, placed, replace)
    for block in placed:
        _check_shape(block)
    return AttachmentPlan(backbone_name(model), placed)


def _with_grid(block: PlannedBlock, traced: Trace) -> PlannedBlock:
    source = grid_source(traced, block.site)
    fixed = block.site.layout == "NLC" and source is None
    return dataclasses.replace(block, grid_source=source, input_size=traced.input_size if fixed else None)


def backbone_name(model: nn.Module) -> str:
    """The model's class, with its library; its own, where FSDP2 has put one over it."""
    cls = next(cls for cls in type(model).__mro__ if not cls.__module__.startswith("torch.distributed.fsdp"))
    return f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"


def check_unwrapped(model: nn.Module) -> None:
    """Refuse a model whose forward is already fixed or wrapped: new hooks or parameters would be ignored."""
    order = "attach, then freeze, then wrap or compile, then make the optimiser"
    require_module(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise AWBError(f"the model is a TorchScript module, whose forward cannot be hooked: {order}")
    if any(getattr(m, "_compiled_call_impl", None) is not None or hasattr(m, "_orig_mod") for m in model.modules()):
        raise AWBError(f"the model is compiled, and would ignore new blocks: {order}")
    for cls in {cls for module in model.modules() for cls in type(module).__mro__}:
        if cls.__module__.startswith("torch.") and cls.__name__ in _WRAPPERS:
            raise AWBError(f"the model is wrapped in {cls.__name__}, which would not see new parameters: {order}")


def _check_free(model: nn.Module, blocks: tuple[PlannedBlock, ...], replace: bool) -> None:
    modules = dict(model.named_modules())
    paths: set[str] = set()
    for block in blocks:
        if block.path in paths:
            raise AWBError(f"two blocks would both live at {block.path}: choose one of the places around {block.site}")
        paths.add(block.path)
        taken = modules.get(f"{block.home}.{block.child}")
        if taken is None:
            continue
        present = [m for m in (taken, *taken.children()) if isinstance(m, AWB)]
        if not present:
            raise AWBError(f"{block.home} already has a child named {block.child!r} that is not a block")
        other = present[0].planned.site
        if other.module != block.site.module:
            raise AWBError(f"{block.home} already holds the block after {other}: detach_awb(model) first")
        if not replace and (isinstance(taken, AWB) or block.path in modules):
            key = repr(block.stage or block.site.module)
            raise AWBError(
                f"a block already sits after {block.site}; pass replace=True to put a new one there, whose training "
                f"starts afresh (several at one place, in order, are named in one call: {{{key}: ['cbam', 'lka']}})"
            )


@torch.inference_mode(False)  # whose tensors do not say whether they were changed
def _check_shape(block: PlannedBlock) -> None:
    site = block.site
    shape = (2, site.channels, *site.grid)
    x = torch.empty(shape, dtype=torch.float32, device="meta")  # as the copy below, whatever the default
    version = x._version
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), torch.device("cpu"):
            module = create_attention(block.attention, site.channels, **block.attention_kwargs)
        with torch.no_grad(), torch.device("meta"):
            result = copy_structure(module, to_meta)(x)
    except Exception as error:
        raise AWBError(
            f"attention {block.attention!r}{_with(block.attention_kwargs)} cannot be built for, or run on, the "
            f"{shape[1:]} map after {site} ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(result, torch.Tensor) or tuple(result.shape) != shape:
        got = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
        raise AWBError(f"attention {block.attention!r} maps {shape} to {got}; it must keep the shape")
    if x._version != version:
        raise AWBError(f"attention {block.attention!r} changes its input in place; build it with inplace=False")


def _with(options: Mapping[str, Any]) -> str:
    return f" with {', '.join(f'{name}={value!r}' for name, value in options.items())}" if options else ""
