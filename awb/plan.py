"""Plan of an attachment (a dry run): everything that can go wrong is found before anything is touched."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from awb.attention.registry import create_attention
from awb.block import AWB
from awb.block_plan import CHILD, Init, PlannedBlock
from awb.errors import AWBError, require_module
from awb.macs import count_macs
from awb.places import Site, Stage
from awb.private_apis import is_compiled, version
from awb.requested_kinds import DEFAULT, Request, Stages, read_requests, refuse_kinds_as_stages
from awb.stages.copying import copy_structure, to_meta
from awb.stages.example_inputs import Size, trace_model
from awb.stages.homes import find_homes
from awb.stages.select import select_stages
from awb.stages.sites import grid_source
from awb.stages.trace import Trace
from awb.table import Table

_WRAPPERS = {"DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "FSDPModule"}


@dataclass(frozen=True)
class AttachmentPlan:
    """Plan of the changes that `attach_awb` makes to a model; prints as a table.

    Attributes:
        backbone: Class of the model, with its library.
        blocks: The blocks, in the order of the stages.
    """

    backbone: str
    blocks: tuple[PlannedBlock, ...]

    def table(self, trainable: Sequence[int] | None = None) -> Table:
        """A table with one row per block: stage, site, channels, layout, attention, init, parameters and MACs.

        MACs are multiply–accumulates of one image, counted by fvcore at the site's grid.

        Args:
            trainable: Number of trainable parameters of each attached block, for one more column.
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
    """Plan an attachment without changing anything: same arguments and errors as `attach_awb`.

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
    chosen = _chosen(requests, select_stages(model, traced, [request.selectors for request in requests], allow_dead))
    places = find_places(traced, [site for _, _, site in chosen])
    blocks = [
        PlannedBlock(
            stage=stage.index, stage_name=stage.name, reduction=stage.reduction, site=site, home=place.home,
            grid_source=place.grid_source, attention=kind.name, attention_kwargs=kind.options, init=init,
            input_size=place.input_size, position=position,
        )
        for (request, stage, site), place in zip(chosen, places, strict=True)
        for position, kind in enumerate(request.kinds)
    ]  # fmt: skip
    return checked_plan(model, blocks, replace)


def _chosen(
    requests: Sequence[Request], selected: Sequence[Sequence[tuple[Stage, Site]]]
) -> list[tuple[Request, Stage, Site]]:
    """The places of all requests, each once, those of numbered stages first.

    Raises:
        AWBError: Two requests ask for different kinds at one place.
    """
    first: dict[tuple[str, int | str | None], Request] = {}
    chosen = []
    for request, places in zip(requests, selected, strict=True):
        for stage, site in places:
            other = first.setdefault((site.module, site.element), request)
            if other.kinds != request.kinds:
                theirs, ours = ([kind.name for kind in r.kinds] for r in (other, request))
                raise AWBError(
                    f"{other.key!r} and {request.key!r} both name the place after {site}, with different kinds: name "
                    f"it once, for both in order as a list, {{{request.key!r}: {theirs + ours}}}"
                )
            if other is request:
                chosen.append((request, stage, site))
    return sorted(chosen, key=lambda place: (place[1].index is None, place[1].index or 0))


class Place(NamedTuple):
    """The fields of a `PlannedBlock` that follow from its site in a trace.

    Attributes:
        home: The module on which the block sits.
        grid_source: The module that shows the token grid, and the element of its output.
        input_size: Height and width of the image that a fixed token grid belongs to.
    """

    home: str
    grid_source: tuple[str, int | str | None] | None
    input_size: tuple[int, int] | None


def find_places(traced: Trace, sites: Sequence[Site]) -> list[Place]:
    """Find the homes of blocks at these sites, and the modules that show their token grids.

    Raises:
        AWBError: No module at or below a site can contain a block.
    """
    homes = find_homes(traced, [site.module for site in sites], CHILD)
    places = []
    for site in sites:
        source = grid_source(traced, site)
        fixed = site.layout == "NLC" and source is None
        places.append(Place(homes[site.module], source, traced.input_size if fixed else None))
    return places


def checked_plan(model: nn.Module, blocks: Sequence[PlannedBlock], replace: bool = False) -> AttachmentPlan:
    """Make a plan of blocks, after checking that each can be built and attached.

    Raises:
        AWBError: A block cannot be built, does not keep the map's shape, or its place is taken.
    """
    _check_free(model, blocks, replace)
    checked: set[tuple[object, ...]] = set()
    for block in blocks:
        alike = (block.attention, repr(block.attention_kwargs), block.site.channels, block.site.grid)
        if alike not in checked:
            _check_shape(block)
            checked.add(alike)
    return AttachmentPlan(backbone_name(model), tuple(blocks))


def backbone_name(model: nn.Module) -> str:
    """Class of a model with its library; the original class, if FSDP2 has replaced it."""
    cls = next(cls for cls in type(model).__mro__ if not cls.__module__.startswith("torch.distributed.fsdp"))
    return f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"


def check_unwrapped(model: nn.Module) -> None:
    """Refuse a model that is wrapped, compiled or scripted already: new hooks or parameters would be ignored."""
    order = "attach, then freeze, then wrap or compile, then make the optimiser"
    require_module(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise AWBError(f"the model is a TorchScript module, whose forward cannot be hooked: {order}")
    if any(map(is_compiled, model.modules())):
        raise AWBError(f"the model is compiled, and would ignore new blocks: {order}")
    for cls in {cls for module in model.modules() for cls in type(module).__mro__}:
        if cls.__module__.startswith("torch.") and cls.__name__ in _WRAPPERS:
            raise AWBError(f"the model is wrapped in {cls.__name__}, which would not see new parameters: {order}")


def _check_free(model: nn.Module, blocks: Sequence[PlannedBlock], replace: bool) -> None:
    """Refuse places that are taken, by another block or by something else."""
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
            raise AWBError(f"{block.home} already contains the block after {other}: detach_awb(model) first")
        if not replace and (isinstance(taken, AWB) or block.path in modules):
            key = repr(block.stage or block.site.module)
            raise AWBError(
                f"a block already sits after {block.site}; pass replace=True to put a new one there, whose training "
                f"starts afresh (several at one place, in order, are named in one call: {{{key}: ['cbam', 'lka']}})"
            )


@torch.inference_mode(False)  # whose tensors do not say whether they were changed
def _check_shape(block: PlannedBlock) -> None:
    """Build the block's attention and run it on a map without storage."""
    site = block.site
    shape = (2, site.channels, *site.grid)
    x = torch.empty(shape, dtype=torch.float32, device="meta")  # as the copy below, whatever the default
    before = version(x)
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
    if version(x) != before:
        raise AWBError(f"attention {block.attention!r} changes its input in place; build it with inplace=False")


def _with(options: Mapping[str, Any]) -> str:
    return f" with {', '.join(f'{name}={value!r}' for name, value in options.items())}" if options else ""
