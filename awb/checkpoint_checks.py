"""Checks before saving and loading: that block and plan, plan and model, and file and model fit together."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from awb.attention.registry import create_attention
from awb.block import AWB
from awb.block_plan import PlannedBlock
from awb.blocks_file import SavedWeight
from awb.errors import AWBError, shortlist
from awb.fingerprint import Fingerprint, fingerprint, same_values
from awb.plan import AttachmentPlan, checked_plan, find_places
from awb.private_apis import Convolution, is_saved, own_buffers
from awb.stages.example_inputs import Size, trace_model
from awb.stages.find import family_stages
from awb.stages.sites import check_site

Shape = tuple[int, ...]
_ATTENTION = "attention."  # keys of a block's attention begin with it; else there is a γ
_GAMMA = "gamma"
_MOST_UNSAVED = 2**30
# position embeddings and biases are resized with the image
_POSITIONS = re.compile(r"(^|[._])(rel_|abs_|relative_|absolute_)?pos(itions?|_|$)")


def fit_plan(plan: AttachmentPlan, model: nn.Module, input_size: Size | None, example_input: Any) -> AttachmentPlan:
    """Adapt a file's plan to a model: the same sites, with the grids that they have there.

    Raises:
        AWBError: The model has no such sites, or cannot be traced.
    """
    traced = trace_model(model, input_size, example_input)
    known = {(s.module, s.element): s for stage in family_stages(model, traced) for s in stage.sites}
    another = f"this is another {plan.backbone} than the one whose blocks were saved"
    sites = []
    for block in plan.blocks:
        saved = block.site
        try:
            site = known.get((saved.module, saved.element)) or check_site(traced, saved, block.reduction)
        except AWBError as error:
            raise AWBError(f"{another}: {error}") from error
        here, there = (dataclasses.replace(s, grid=(0, 0), order=()) for s in (site, saved))
        if here != there:
            raise AWBError(f"{another}: the map after {saved} is {here!r}, not {there!r}")
        sites.append(site)
    blocks = [
        dataclasses.replace(block, site=site, **place._asdict())
        for block, site, place in zip(plan.blocks, sites, find_places(traced, sites), strict=True)
    ]
    return checked_plan(model, blocks)


def check_same_plan(saved: AttachmentPlan, attached: Sequence[PlannedBlock]) -> None:
    """Refuse a file whose blocks are not the model's.

    Raises:
        AWBError: They differ in place, kind or options.
    """

    def identity(block: PlannedBlock) -> tuple[str, str, str]:
        return block.path, block.attention, json.dumps(dict(block.attention_kwargs), sort_keys=True)

    theirs, ours = ([identity(b) for b in blocks] for blocks in (saved.blocks, attached))
    missing = [f"{path} ({kind})" for path, kind, kwargs in theirs if (path, kind, kwargs) not in ours]
    extra = [f"{path} ({kind})" for path, kind, kwargs in ours if (path, kind, kwargs) not in theirs]
    if missing or extra:
        raise AWBError(
            f"the file's blocks are not the model's: only in the file {missing}, only in the model {extra}; "
            "detach_awb(model) first to attach the file's"
        )


def planned_shapes(plan: AttachmentPlan, saved: Mapping[str, Shape]) -> dict[str, Shape]:
    """Keys and shapes of the blocks of a file's plan, found without allocating anything of that size.

    Args:
        plan: The plan.
        saved: Shapes of the file's tensors. They are believed where only a built block would tell: whether it has a
            γ, and all shapes of a kind that cannot be built without storage.

    Raises:
        AWBError: A block cannot be built, or two would be in one place.
    """
    shapes: dict[str, Shape] = {}
    paths: set[str] = set()
    for block in plan.blocks:
        prefix = f"{block.path}."
        if prefix in paths:
            raise AWBError(f"the file's plan has two blocks at {block.path}")
        paths.add(prefix)
        attention = _structure(block)
        if attention is None:
            shapes |= {key: shape for key, shape in saved.items() if key.startswith(prefix)}
            continue
        if _unsaved_bytes(attention) > _MOST_UNSAVED:
            raise AWBError(f"the file's plan asks for more than {_MOST_UNSAVED:,} bytes of buffers at {block.path}")
        shapes |= {f"{prefix}{_ATTENTION}{key}": tuple(t.shape) for key, t in attention.state_dict().items()}
        if prefix + _GAMMA in saved:
            shapes[prefix + _GAMMA] = (block.site.channels,)
    return shapes


def check_shapes(saved: Mapping[str, Shape], here: Mapping[str, Shape], optional: Iterable[str] = ()) -> None:
    """Refuse a file whose keys or shapes are not the model's.

    Args:
        saved: The file's shapes by key.
        here: The model's shapes by key.
        optional: Modules that can be left out, which the error suggests if only they differ.

    Raises:
        AWBError: They differ; the message lists where.
    """
    missing, extra = sorted(here.keys() - saved.keys()), sorted(saved.keys() - here.keys())
    other = [key for key in here if key in saved and saved[key] != here[key]]
    problems = [
        f"missing: {shortlist(missing)}" if missing else "",
        f"unexpected: {shortlist(extra)}" if extra else "",
        *(f"{key} has shape {saved[key]} in the file and {here[key]} in the model" for key in other[:8]),
        f"… ({len(other) - 8} more)" if len(other) > 8 else "",
    ]
    if not (missing or extra or other):
        return
    heads = [name for name in optional if any(key.startswith(f"{name}.") for key in (*missing, *extra, *other))]
    only = all(any(key.startswith(f"{name}.") for name in heads) for key in (*missing, *extra, *other))
    advice = f"; without={heads} leaves {', '.join(heads)} as it is in the model" if only else ""
    raise AWBError("the file does not fit, and nothing was loaded: " + "; ".join(filter(None, problems)) + advice)


def check_as_planned(block: AWB) -> None:
    """Refuse a block that was changed after attaching, so that its plan no longer builds it.

    Raises:
        AWBError: Its layers have other shapes, names or types than the plan's.
    """
    path, planned = block.planned.path, _structure(block.planned)
    if planned is None:
        return
    here = {key: tuple(t.shape) for key, t in block.attention.state_dict().items() if isinstance(t, Tensor)}
    there = {key: tuple(t.shape) for key, t in planned.state_dict().items()}
    wrong = [
        f"{key} has shape {here[key]}, not {there[key]}" for key in there if here.get(key, there[key]) != there[key]
    ]
    wrong += [f"{key} is gone" for key in sorted(there.keys() - here.keys())]
    wrong += [f"{key} is new" for key in sorted(here.keys() - there.keys())]
    if not wrong and not isinstance(block.attention, type(planned)):
        wrong = [f"it is a {type(block.attention).__name__}, not a {type(planned).__name__}"]
    if not wrong:
        wrong = _other_convolutions(block.attention, planned)
    if wrong:
        raise AWBError(
            f"block {path} is no longer what its plan builds ({block.planned.attention!r} for {block.channels} "
            f"channels), so that a file could not be loaded: {shortlist(wrong, 4)}. Save the whole model "
            "(torch.save(model)), or undo the change (pruning, quantisation, an adapter, a replaced layer) first"
        )


def check_weights(saved: Iterable[SavedWeight], model: nn.Module) -> None:
    """Refuse a backbone that has other weights than the one whose blocks were saved, under any names.

    Raises:
        AWBError: A parameter of the saved blocks' backbone is not in this one.
    """
    saved = list(saved)
    another = f"the file's blocks are of another network than this {type(model).__name__}"
    parameters = len(list(model.parameters()))
    if len(saved) > parameters:
        raise AWBError(f"{another}: that has {len(saved)} parameters, and this {parameters}")
    by_shape: dict[Shape, set[bytes]] = {}
    for value in weight_fingerprints(model).values():
        by_shape.setdefault(value.shape, set()).add(value.samples)
    absent = [weight for weight in saved if weight.shape not in by_shape]
    if absent:
        raise AWBError(
            f"{another}: this has no parameter of the shape {absent[0].shape} of {absent[0].name} "
            f"({len(absent)} of {len(saved)} have no counterpart)"
        )
    wrong = [
        weight.name
        for weight in saved
        if weight.values not in by_shape[weight.shape]
        and not any(same_values(weight.values, samples) for samples in by_shape[weight.shape])
    ]
    if wrong:
        raise AWBError(
            f"this {type(model).__name__} has other weights than the backbone that the blocks were saved from "
            f"({len(wrong)} of {len(saved)} parameters differ: {shortlist(wrong, 3)}): load that backbone's weights "
            "first, or pass allow_other_weights=True"
        )


def weight_fingerprints(
    model: nn.Module, without: Iterable[nn.Module] = (), names: Iterable[str] = ()
) -> dict[str, Fingerprint]:
    """Fingerprints of the backbone's parameters, without blocks, position embeddings and named exceptions.

    Args:
        model: The model.
        without: Modules to leave out, such as the head.
        names: Parameters to leave out, such as an adapter's.
    """
    excluded = set(names)
    blocks = [module for module in model.modules() if isinstance(module, AWB)]
    left_out = {id(p) for module in (*blocks, *without) for p in module.parameters()}
    found = {
        name: fingerprint(parameter)
        for name, parameter in model.named_parameters()
        if id(parameter) not in left_out and name not in excluded and not _POSITIONS.search(name)
    }
    return {name: value for name, value in found.items() if value is not None}


def _unsaved_bytes(module: nn.Module) -> int:
    """Size of the buffers that are not in the state dict, such as tables of positions."""
    return sum(
        buffer.numel() * buffer.element_size()
        for part in module.modules()
        for name, buffer in own_buffers(part).items()
        if buffer is not None and not is_saved(part, name)
    )


@torch.inference_mode(False)
def _structure(block: PlannedBlock) -> nn.Module | None:
    """Planned attention, built without storage; None for a kind that cannot be built so.

    Raises:
        AWBError: It cannot be built at all.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return create_attention(block.attention, block.site.channels, **block.attention_kwargs)
    except AWBError:
        raise
    except NotImplementedError:
        return None  # its constructor looks at values
    except Exception as error:
        if "meta" in str(error):
            return None
        raise AWBError(
            f"attention {block.attention!r} cannot be built for {block.site} with the options "
            f"{dict(block.attention_kwargs)} ({type(error).__name__}: {error})"
        ) from error


def _other_convolutions(attention: nn.Module, planned: nn.Module) -> list[str]:
    """Convolutions that have the same shape but another stride, padding or dilation."""
    there = dict(planned.named_modules())
    return [
        f"{name} is ({module.extra_repr()}), not ({there[name].extra_repr()})"
        for name, module in attention.named_modules()
        if isinstance(module, Convolution) and name in there
        if module.extra_repr() != there[name].extra_repr()
    ]
