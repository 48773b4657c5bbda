"""Save the blocks, with the plan that attached them, in one safetensors file; load them into another model."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from awb.attach import attached_blocks, attached_plan, awb_blocks, build_blocks, place_blocks
from awb.errors import AWBError, did_you_mean, shortlist
from awb.hosts import require_unbaked
from awb.plan import AttachmentPlan, backbone_name, check_unwrapped, complete_plan
from awb.planned import PlannedBlock
from awb.stages.describe import check_site
from awb.stages.find import number_stages
from awb.stages.inputs import Size, trace_model
from awb.stages.types import Site

_FORMAT = "awb-1"


def awb_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The blocks' part of `model.state_dict()`, with the same keys.

    Raises:
        AWBError: The model has no blocks, or one no longer runs.
    """
    require_unbaked(model)
    return _state_of(model, attached_blocks(model))


def save_awb(model: nn.Module, path: str | os.PathLike[str], modules_to_save: Iterable[str] = ()) -> None:
    """Write the blocks to a safetensors file, with the plan, the backbone's class and the versions beside them.

    Args:
        model: The model that `attach_awb` was called on.
        path: File to write.
        modules_to_save: Paths of further modules to take along, such as a trained classifier (`["fc"]`).

    Raises:
        AWBError: The model has no blocks, one no longer runs, there is no such module or folder, or an option of the
            attention kind cannot be written as JSON.
    """
    from safetensors.torch import save_file

    plan = attached_plan(model)
    blocks = attached_blocks(model)
    if set(blocks) != {block.path for block in plan.blocks}:
        raise AWBError(f"{type(model).__name__} holds blocks of a model inside it: save from the model attached to")
    extra = _named_modules(model, modules_to_save)
    if not Path(path).absolute().parent.is_dir():
        raise AWBError(f"there is no folder {Path(path).parent} to save {Path(path).name} in")
    tensors = {**_state_of(model, blocks), **_state_of(model, extra)}
    metadata = {
        "format": _FORMAT,
        "plan": _to_json(plan),
        "modules_to_save": json.dumps(list(extra)),
        "versions": json.dumps(_versions()),
    }
    # a clone each: safetensors refuses tensors that share storage
    save_file({key: t.detach().cpu().contiguous().clone() for key, t in tensors.items()}, Path(path), metadata)


def load_awb(
    model: nn.Module, path: str | os.PathLike[str], *, input_size: Size | None = None, example_input: Any = None
) -> nn.Module:
    """Load a file of `save_awb` into a model, attaching its blocks first if the model has none.

    Strict: the backbone's class, the sites and every key and shape must agree, and nothing is changed
    unless all of them do.

    Args:
        model: A model of the class that was saved, with the same blocks or none.
        path: The file.
        input_size: As for `attach_awb`; read only when blocks have to be attached.
        example_input: Likewise.

    Returns:
        The model.

    Raises:
        AWBError: The file is not one of `save_awb`'s, or does not fit; the message lists what does not.
    """
    plan, extra, tensors = _read(path)
    if plan.backbone != backbone_name(model):
        raise AWBError(f"{path} holds blocks for a {plan.backbone}; this model is a {backbone_name(model)}")
    blocks = awb_blocks(model)
    if blocks:
        attached_blocks(model)  # all of them run
        _check_same_plan(plan, attached_plan(model))
        new = []
    else:
        check_unwrapped(model)
        with torch.random.fork_rng(devices=[]):  # every value is about to be overwritten
            new = build_blocks(model, _fit(plan, model, input_size, example_input))
        blocks = {block.planned.path: block for block in new}
    targets = {f"{path}.{key}": t for path, block in blocks.items() for key, t in block.state_dict().items()}
    targets |= _state_of(model, _named_modules(model, extra))
    _check_tensors(tensors, targets)
    place_blocks(model, new)
    with torch.no_grad():
        for key, target in targets.items():
            target.copy_(tensors[key])
    return model


def _state_of(model: nn.Module, modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {f"{name}.{key}": t for name, module in modules.items() for key, t in module.state_dict().items()}


def _named_modules(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise AWBError(f"modules_to_save={names!r}: expected a list of module paths, such as ['fc']")
    names = list(names)  # it may be a generator
    known = dict(model.named_modules())
    for name in names:
        if not isinstance(name, str):
            raise AWBError(f"modules_to_save: {name!r} is a {type(name).__name__}; expected a module's path")
        if not name or name not in known:
            raise AWBError(f"{type(model).__name__} has no module {name!r}{did_you_mean(name, known)}")
    return {name: known[name] for name in names}


def _read(path: str | os.PathLike[str]) -> tuple[AttachmentPlan, list[str], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise AWBError(f"{path} is not a safetensors file ({error})") from error
    if metadata.get("format") != _FORMAT:
        raise AWBError(f"{path} was not written by save_awb (format {metadata.get('format')!r}, not {_FORMAT!r})")
    return _from_json(metadata["plan"]), json.loads(metadata["modules_to_save"]), tensors


def _fit(plan: AttachmentPlan, model: nn.Module, input_size: Size | None, example_input: Any) -> AttachmentPlan:
    """The plan for this model: the same sites, with the grids that they have here."""
    traced = trace_model(model, input_size, example_input)
    known = {(s.module, s.element): s for stage in number_stages(model, traced) for s in stage.sites}
    blocks = []
    for block in plan.blocks:
        saved = block.site
        site = known.get((saved.module, saved.element)) or check_site(traced, saved, block.reduction)
        here, there = (dataclasses.replace(s, grid=(0, 0), order=()) for s in (site, saved))
        if here != there:
            raise AWBError(f"the map after {saved} differs: saved {there!r}, here {here!r}")
        blocks.append(dataclasses.replace(block, site=site))
    return complete_plan(model, traced, tuple(blocks))


def _check_same_plan(saved: AttachmentPlan, attached: AttachmentPlan) -> None:
    def identity(block: PlannedBlock) -> tuple[str, str, str]:
        return block.path, block.attention, json.dumps(dict(block.attention_kwargs), sort_keys=True)

    theirs, ours = ([identity(b) for b in plan.blocks] for plan in (saved, attached))
    missing = [f"{path} ({kind})" for path, kind, kwargs in theirs if (path, kind, kwargs) not in ours]
    extra = [f"{path} ({kind})" for path, kind, kwargs in ours if (path, kind, kwargs) not in theirs]
    if missing or extra:
        raise AWBError(
            f"the file's blocks are not the model's: only in the file {missing}, only in the model {extra}; "
            "detach_awb(model) first to attach the file's"
        )


def _check_tensors(saved: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
    problems = [
        f"missing: {shortlist(missing)}" if (missing := sorted(targets.keys() - saved.keys())) else "",
        f"unexpected: {shortlist(extra)}" if (extra := sorted(saved.keys() - targets.keys())) else "",
        *(
            f"{key} has shape {tuple(saved[key].shape)} in the file and {tuple(target.shape)} in the model"
            for key, target in targets.items()
            if key in saved and saved[key].shape != target.shape
        ),
    ]
    problems = [problem for problem in problems if problem]
    if problems:
        raise AWBError("the file does not fit, and nothing was loaded: " + "; ".join(problems))


def _to_json(plan: AttachmentPlan) -> str:
    fields = dataclasses.asdict(plan)
    try:
        text = json.dumps(fields)
    except TypeError as error:
        raise AWBError(f"an option of the attention kind cannot be written as JSON: {error}") from error
    return text


def _from_json(text: str) -> AttachmentPlan:
    fields = json.loads(text)
    blocks = []
    for block in fields["blocks"]:
        site = block.pop("site")
        site |= {key: tuple(site[key]) for key in ("grid", "order")}
        blocks.append(PlannedBlock(site=Site(**site), **block))
    return AttachmentPlan(fields["backbone"], tuple(blocks))


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("awb", "torch", "torchvision", "timm"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # awb run from a checkout, or a backbone without timm
            found[name] = "not installed"
    return found
