"""Save blocks with their plan in one safetensors file, and load them into another model."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from awb.attach import attached_blocks, awb_blocks, build_blocks, place_blocks, require_running
from awb.block import AWB
from awb.blocks_file import Header, SavedWeight, read_header, read_tensors, require_finite, write_blocks_file
from awb.checkpoint_checks import (
    check_as_planned,
    check_same_plan,
    check_shapes,
    check_weights,
    fit_plan,
    planned_shapes,
    weight_fingerprints,
)
from awb.classifier import find_classifier, find_head
from awb.errors import AWBError, did_you_mean, shortlist
from awb.hooks.changed_weights import weight_changes
from awb.hooks.hosts import require_unbaked
from awb.hooks.placed_blocks import PresentPlan, present_plan
from awb.plan import AttachmentPlan, backbone_name, check_unwrapped
from awb.stages.example_inputs import Size
from awb.wrappers import innermost, is_offloaded

_CLASSIFIER_NAMES = ("fc", "classifier", "head", "heads", "last_linear")


def awb_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The entries of `model.state_dict()` that belong to blocks, with the same keys.

    Raises:
        AWBError: The model has no blocks, or one no longer runs.
    """
    require_unbaked(model)
    return _state_of(attached_blocks(model))


def save_awb(
    model: nn.Module,
    path: str | os.PathLike[str],
    modules_to_save: Iterable[str] | None = None,
    *,
    allow_lost: bool = False,
) -> None:
    """Save the blocks to a safetensors file, with their plan, the backbone's identity and the versions of libraries.

    It is an error if something was trained that would not be in the file: parameters or batch-norm statistics that
    have changed since the blocks were attached, or since the last `load_state_dict`. An existing file is replaced in
    one step, and stays as it was if anything fails.

    Args:
        model: The model that `attach_awb` was called on, or one that contains it or a part of it.
        path: File to write.
        modules_to_save: Paths of further modules to save (`["neck", "fc"]`). By default the head, if it was trained;
            `()` for the blocks only, even if the head was trained.
        allow_lost: Save even if something else was trained.

    Raises:
        AWBError: The model has no blocks, one no longer runs or is not what its plan builds, something that was
            trained would be lost, a value is NaN or infinite, there is no such module or folder, an option of the
            attention kind cannot be written as JSON, or the file cannot be written.

    Examples:
        >>> import awb, os, tempfile, torchvision
        >>> model = awb.attach_awb(torchvision.models.resnet18(num_classes=5))
        >>> path = os.path.join(tempfile.mkdtemp(), "blocks.safetensors")
        >>> awb.save_awb(model, path)
    """
    model, blocks, planned = present_plan(model, require_running(model))
    _require_weights_here(model, "save")
    for block in blocks.values():
        check_as_planned(block)
    changes = weight_changes(model)
    head = _head(model)
    if modules_to_save is None:
        trained = [*changes.changed, *changes.with_blocks]
        extra = {name: module for name, module in head.items() if any(_is_below(key, [name]) for key in trained)}
    else:
        extra = _named_modules(model, modules_to_save)
    accepted = [*extra, *(head if modules_to_save is not None and not extra else ())]
    lost = [key for key in changes.changed if not _is_below(key, accepted)]
    if lost and not allow_lost:
        raise AWBError(_would_be_lost(lost))
    weights = weight_fingerprints(model, [*head.values(), *extra.values()], changes.added)
    saved = [SavedWeight(k, v.shape, base64.b64encode(v.samples).decode()) for k, v in weights.items()]
    header = Header(AttachmentPlan(backbone_name(model), planned), tuple(extra), tuple(saved))
    write_blocks_file(path, header, _state_of({**blocks, **extra}))


def load_awb(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    without: Iterable[str] = (),
    allow_other_weights: bool = False,
    input_size: Size | None = None,
    example_input: Any = None,
) -> nn.Module:
    """Load a file of `save_awb` into a model, attaching the blocks first if the model has none.

    Strict: the backbone's class and weights, the sites and every key and shape must agree, and nothing is changed
    unless all of them do. Values are cast to the model's floating-point dtype. Nothing in a file is executed.

    Args:
        model: A model of the class that was saved, with the same blocks or none.
        path: The file.
        without: Modules of the file to skip (`["fc"]`, for another number of classes).
        allow_other_weights: Load even if the backbone has other weights than the one whose blocks were saved.
        input_size: As in `attach_awb`; used only if blocks have to be attached.
        example_input: Likewise.

    Returns:
        The model.

    Raises:
        AWBError: The file is not one of `save_awb`'s, or does not fit; the message lists what does not.
    """
    header = read_header(path)
    root, present, planned = _present(model)
    _require_weights_here(model, "load")
    if header.plan.backbone != backbone_name(root):
        raise AWBError(f"{path} holds blocks for a {header.plan.backbone}; this model is a {backbone_name(root)}")
    left_out = _left_out(header, without)
    extra = _named_modules(root, [name for name in header.modules if name not in left_out])
    if not allow_other_weights:
        check_weights(header.weights, root)
    blocks_at = [block.path for block in header.plan.blocks]
    saved = {
        key: shape
        for key, shape in header.shapes.items()
        if not _is_below(key, left_out) or _is_below(key, [*blocks_at, *extra])
    }
    if present:
        check_same_plan(header.plan, planned)
        new = []
    else:
        new = _new_blocks(root, header.plan, saved, extra, input_size, example_input)
    targets = _state_of({**present, **{block.planned.path: block for block in new}, **extra})
    check_shapes(saved, _shapes(targets), extra)
    values = _cast(read_tensors(path, targets), targets)
    place_blocks(root, new)
    with torch.no_grad():
        for key, target in targets.items():
            target.copy_(values[key])
    for block in present.values():
        block.unset = False  # it may have been made without values, and has them now
    return model


def _require_weights_here(model: nn.Module, what: str) -> None:
    if is_offloaded(model):
        raise AWBError(
            f"the weights of this {type(model).__name__} are offloaded by accelerate: {what} before, or bring them "
            "back with accelerate.hooks.remove_hook_from_submodules(model)"
        )
    if what == "load" and any(hasattr(p, "full_tensor") for p in model.parameters()):
        raise AWBError(f"the weights of this {type(model).__name__} are sharded: load before fully_shard")


def _present(model: nn.Module) -> PresentPlan:
    """Model that the paths in a file refer to, and its present blocks and plan, if any."""
    return present_plan(model, require_running(model)) if awb_blocks(model) else PresentPlan(model, {}, ())


def _new_blocks(
    model: nn.Module,
    plan: AttachmentPlan,
    saved: Mapping[str, tuple[int, ...]],
    extra: Mapping[str, nn.Module],
    input_size: Size | None,
    example_input: Any,
) -> list[AWB]:
    """Build blocks by a file's plan, to be placed later."""
    check_unwrapped(model)
    if len(plan.blocks) > len(list(model.modules())):
        raise AWBError(f"the file's plan has {len(plan.blocks)} blocks, more than the model has modules")
    check_shapes(saved, {**planned_shapes(plan, saved), **_shapes(_state_of(extra))}, extra)
    with torch.random.fork_rng(devices=[]):  # every value is about to be overwritten
        return build_blocks(model, fit_plan(plan, model, input_size, example_input))


def _state_of(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """State dicts of modules, unwrapped first, with each module's path before its keys."""
    return {f"{name}.{key}": t for name, module in modules.items() for key, t in innermost(module).state_dict().items()}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def _cast(tensors: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Cast a file's values to the model's dtypes, and check that all of them are usable."""
    values = {}
    for key, target in targets.items():
        tensor = tensors[key]
        if target.is_meta:
            raise AWBError(f"{key} is on meta, where nothing can be loaded: give the model its weights first")
        if tensor.dtype != target.dtype and not (tensor.is_floating_point() and target.is_floating_point()):
            raise AWBError(f"{key} is {tensor.dtype} in the file and {target.dtype} in the model")
        require_finite(f"{key} in the file", tensor)
        values[key] = tensor.to(target.dtype)
        require_finite(f"{key}, cast from {tensor.dtype} to {target.dtype},", values[key])
    return values


def _head(model: nn.Module) -> dict[str, nn.Module]:
    """Head, if one is known; else empty, so that the trained modules have to be named."""
    try:
        return find_head(model, None)
    except AWBError:
        return {}


def _named_modules(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    known = {path: module for path, module in model.named_modules(remove_duplicate=False) if path}
    return {name: known[name] for name in _as_paths("modules_to_save", names, known, _classifier_hint(model))}


def _left_out(header: Header, names: Iterable[str]) -> list[str]:
    """Modules of the file to skip; each must be in it."""
    return _as_paths("without", names, header.modules, f"; the file has {list(header.modules)}")


def _as_paths(argument: str, names: Iterable[str], known: Iterable[str], hint: str) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise AWBError(f"{argument}={names!r}: expected a list of module paths, such as ['fc']")
    names, known = list(names), list(known)  # it may be a generator
    for name in names:
        if not isinstance(name, str):
            raise AWBError(f"{argument}: {name!r} is a {type(name).__name__}; expected a module's path")
        if name not in known:
            likely = hint if name in _CLASSIFIER_NAMES and hint else did_you_mean(name, known) or hint
            raise AWBError(f"{argument}: there is no module {name!r}{likely}")
    return names


def _classifier_hint(model: nn.Module) -> str:
    names = list(find_classifier(model))
    return f"; the classifier of this {type(model).__name__} is {names}" if names else ""


def _is_below(key: str, modules: Iterable[str]) -> bool:
    return any(key.startswith(f"{module}.") for module in modules)


def _would_be_lost(names: list[str]) -> str:
    modules = list(dict.fromkeys(name.partition(".")[0] for name in names))
    return (
        f"{shortlist(names, 4)} changed after the blocks were attached (or the last load_state_dict), and would not be "
        f"in the file: name what was trained, as in modules_to_save={modules[:4]}, save model.state_dict() instead, or "
        "pass allow_lost=True"
    )
