"""Save the blocks, with the plan that attached them, in one safetensors file; load them into another model."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from awb.attach import attached_blocks, attached_plan, awb_blocks, build_blocks, place_blocks
from awb.block import AWB
from awb.blocks_file import Header, SavedWeight, read_header, read_tensors, require_finite, write_blocks_file
from awb.changed_weights import weight_changes
from awb.classifier import find_classifier, find_head
from awb.errors import AWBError, did_you_mean, shortlist
from awb.file_fits import (
    check_as_planned,
    check_same_plan,
    check_shapes,
    check_weights,
    fit_plan,
    planned_shapes,
    weight_fingerprints,
)
from awb.hosts import require_unbaked
from awb.plan import AttachmentPlan, backbone_name, check_unwrapped
from awb.relocate import present_plan
from awb.stages.inputs import Size
from awb.wrappers import innermost, is_offloaded

_CLASSIFIER_NAMES = ("fc", "classifier", "head", "heads", "last_linear")


def awb_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The blocks' part of `model.state_dict()`, with the same keys.

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
    """Write the blocks to a safetensors file, with the plan, what the backbone is and the versions beside them.

    What was trained and is not in the file would be lost, which is an error: parameters and batch-norm statistics
    outside it that are not what they were when the blocks were attached, or at the last `load_state_dict` since. An
    existing file is replaced in one step, and stays as it was if anything fails.

    Args:
        model: The model that `attach_awb` was called on, or one that holds it or a part of it.
        path: File to write.
        modules_to_save: Paths of further modules to take along (`["neck", "fc"]`). By default the head, if it was
            trained; `()` for the blocks only, which says that a trained head is not wanted.
        allow_lost: Save all the same where something else was trained.

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
    plan = attached_plan(model)
    model, blocks = _model_of_paths(model)
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
    header = Header(plan, tuple(extra), tuple(saved))
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
    """Load a file of `save_awb` into a model, attaching its blocks first if the model has none.

    Strict: the backbone's class and weights, the sites and every key and shape must agree, and nothing is changed
    unless all of them do. Values are cast to the model's floating-point dtype. Nothing in a file is executed.

    Args:
        model: A model of the class that was saved, with the same blocks or none.
        path: The file.
        without: Modules of the file to leave out (`["fc"]`, for another number of classes).
        allow_other_weights: Load all the same where the backbone has other weights than the saved blocks' had.
        input_size: As for `attach_awb`; read only when blocks have to be attached.
        example_input: Likewise.

    Returns:
        The model.

    Raises:
        AWBError: The file is not one of `save_awb`'s, or does not fit; the message lists what does not.
    """
    header = read_header(path)
    root, present = _model_of_paths(model)
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
        check_same_plan(header.plan, attached_plan(model))
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
        block.unset = False  # whatever it was made without, it has values now
    return model


def _require_weights_here(model: nn.Module, what: str) -> None:
    if is_offloaded(model):
        raise AWBError(
            f"the weights of this {type(model).__name__} are offloaded by accelerate: {what} before, or bring them "
            "back with accelerate.hooks.remove_hook_from_submodules(model)"
        )
    if what == "load" and any(hasattr(p, "full_tensor") for p in model.parameters()):
        raise AWBError(f"the weights of this {type(model).__name__} are sharded: load before fully_shard")


def _model_of_paths(model: nn.Module) -> tuple[nn.Module, dict[str, AWB]]:
    """The model that the paths in a file refer to, and its blocks by their path there."""
    if not awb_blocks(model):
        return model, {}
    root, blocks, _ = present_plan(model)
    return root, blocks


def _new_blocks(
    model: nn.Module,
    plan: AttachmentPlan,
    saved: Mapping[str, tuple[int, ...]],
    extra: Mapping[str, nn.Module],
    input_size: Size | None,
    example_input: Any,
) -> list[AWB]:
    """Blocks by a file's plan, which are still to be placed."""
    check_unwrapped(model)
    if len(plan.blocks) > len(list(model.modules())):
        raise AWBError(f"the file's plan has {len(plan.blocks)} blocks, more than the model has modules")
    check_shapes(saved, {**planned_shapes(plan, saved), **_shapes(_state_of(extra))}, extra)
    with torch.random.fork_rng(devices=[]):  # every value is about to be overwritten
        return build_blocks(model, fit_plan(plan, model, input_size, example_input))


def _state_of(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """State dicts of modules by their path, of the module inside where one is wrapped."""
    return {f"{name}.{key}": t for name, module in modules.items() for key, t in innermost(module).state_dict().items()}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def _cast(tensors: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's values in the model's dtypes, all of them usable."""
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
    """The head where one is known; where none is, what was trained has to be named."""
    try:
        return find_head(model, None)
    except AWBError:
        return {}


def _named_modules(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    known = {path: module for path, module in model.named_modules(remove_duplicate=False) if path}
    return {name: known[name] for name in _as_paths("modules_to_save", names, known, _classifier_hint(model))}


def _left_out(header: Header, names: Iterable[str]) -> list[str]:
    """The modules of the file not to load; none other can be named."""
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
