"""The format of blocks files: the blocks' tensors in safetensors, and their plan in the metadata."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from awb.attention.timm_layers import by_former_name
from awb.block_plan import PlannedBlock
from awb.dataclass_from_json import MalformedError, UnknownFieldError, from_json
from awb.errors import AWBError
from awb.files import require_file, write_whole
from awb.fingerprint import SAMPLES
from awb.plan import AttachmentPlan

_FORMAT = "awb-2"
_WITH_FORMER_NAMES = "awb-1"  # in which se, cbam and others are timm's layers
_LONGEST = 2**24  # characters of a metadata entry: an order of tokens, the longest thing in a plan, takes 6 a token


@dataclass(frozen=True)
class SavedWeight:
    """A parameter of the backbone whose blocks were saved: its name, shape and some of its values.

    Attributes:
        name: The name, for errors; the same parameter of another model may be called otherwise.
        shape: The shape.
        samples: The values in base64.
    """

    name: str
    shape: tuple[int, ...]
    samples: str

    @property
    def values(self) -> bytes:
        """The samples, encoded as in `Fingerprint`."""
        return base64.b64decode(self.samples, validate=True)


@dataclass(frozen=True)
class Header:
    """Everything in a blocks file but the tensors.

    Attributes:
        plan: The plan by which the blocks were attached.
        modules: Paths of the other modules in the file.
        weights: Parameters of the backbone whose blocks were saved; empty in files of versions that did not save them.
        shapes: Shape of each tensor in the file.
    """

    plan: AttachmentPlan
    modules: tuple[str, ...]
    weights: tuple[SavedWeight, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def write_blocks_file(path: str | os.PathLike[str], header: Header, tensors: Mapping[str, Tensor]) -> None:
    """Write a blocks file, all of it or nothing.

    Raises:
        AWBError: An option of the attention kind cannot be written as JSON, a value is NaN or infinite, or the
            system refuses.
    """
    from safetensors.torch import save

    try:
        plan = json.dumps(dataclasses.asdict(header.plan))
    except TypeError as error:
        raise AWBError(f"an option of the attention kind cannot be written as JSON: {error}") from error
    tensors = {key: t.full_tensor() if hasattr(t, "full_tensor") else t for key, t in tensors.items()}  # sharded ones
    for key, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.is_meta or tensor.is_quantized or tensor.is_complex():
            raise AWBError(f"{key} is not a tensor of plain numbers, and cannot be saved")
        require_finite(key, tensor)
    weights = [dataclasses.asdict(weight) for weight in header.weights]
    metadata = {
        "format": _FORMAT,
        "plan": plan,
        "modules_to_save": json.dumps(header.modules),
        "backbone_weights": json.dumps(weights, separators=(",", ":")),
        "versions": json.dumps(_versions()),
    }
    write_whole(path, save(_apart(tensors), metadata))


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read and check everything but the tensors.

    Raises:
        AWBError: It is not a blocks file, or one of a later version of awb.
    """
    require_file(path)
    with _open(path) as file:
        metadata = file.metadata() or {}
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 (no mapping)
    found = metadata.get("format")
    if found not in (_FORMAT, _WITH_FORMER_NAMES):
        newer = isinstance(found, str) and re.fullmatch(r"awb-\d{1,9}", found) and int(found[4:]) > int(_FORMAT[4:])
        if newer:
            raise AWBError(f"{path} was written by a later version of awb{_by(metadata)}: its format is {found}")
        raise AWBError(f"{path} was not written by save_awb (format {found!r}, not {_FORMAT!r})")
    try:
        plan = from_json(AttachmentPlan, _json(metadata, "plan"), "plan")
        for i, block in enumerate(plan.blocks):
            _check_values(block, f"plan.blocks[{i}]")
        if found == _WITH_FORMER_NAMES:
            plan = _by_former_names(plan)
        modules = _as_names(_json(metadata, "modules_to_save"))
        weights = _as_weights(_json(metadata, "backbone_weights")) if "backbone_weights" in metadata else ()
    except UnknownFieldError as error:
        later = f"was written by a later version of awb{_by(metadata)}"
        raise AWBError(f"{path} {later}, or damaged: {error} that this version does not know") from error
    except MalformedError as error:
        raise AWBError(f"{path} is damaged, or not a file of save_awb: {error}") from error
    return Header(plan, modules, weights, shapes)


def read_tensors(path: str | os.PathLike[str], names: Iterable[str]) -> dict[str, Tensor]:
    """Read some of the tensors; the header has told their shapes, and so the memory that they take.

    Raises:
        AWBError: The file has changed or is damaged.
    """
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in names}


def require_finite(key: str, tensor: Tensor) -> None:
    """Refuse NaN and infinite values.

    Raises:
        AWBError: There is one.
    """
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor.detach()).all()):
        raise AWBError(f"{key} has values that are NaN or infinite")


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU, each with its own storage: safetensors refuses shared storage."""
    apart, storages = {}, set()
    for key, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        storage = plain.untyped_storage().data_ptr()
        apart[key] = plain.clone() if storage in storages else plain
        storages.add(storage)
    return apart


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a safetensors file; its faults become `AWBError`s."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, UnicodeError, OverflowError) as error:
        raise AWBError(f"{path} is not a safetensors file ({error})") from error


def _json(metadata: Mapping[str, str], name: str) -> object:
    text = metadata.get(name)
    if text is None:
        raise MalformedError(f"it has no {name!r}")
    if len(text) > _LONGEST:
        raise MalformedError(f"its {name!r} has {len(text):,} characters")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"its {name!r} is not JSON ({error})") from error


def _check_values(block: PlannedBlock, where: str) -> None:
    """Check the rules that type hints cannot express."""
    site = block.site
    positions = math.prod(site.grid)
    if min(*site.grid, site.channels, block.reduction) < 1 or site.num_prefix_tokens < 0:
        raise MalformedError(f"{where} has a size below 1")
    if site.order and (len(site.order) != positions or sorted(site.order) != list(range(positions))):
        raise MalformedError(f"{where}.site.order is not an order of {site.grid[0]}×{site.grid[1]} tokens")


def _by_former_names(plan: AttachmentPlan) -> AttachmentPlan:
    blocks = (dataclasses.replace(block, attention=by_former_name(block.attention)) for block in plan.blocks)
    return dataclasses.replace(plan, blocks=tuple(blocks))


def _as_names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise MalformedError("its 'modules_to_save' is not a list of paths")
    return tuple(value)


def _as_weights(value: object) -> tuple[SavedWeight, ...]:
    if not isinstance(value, list):
        raise MalformedError("its 'backbone_weights' is not a list")
    weights = tuple(from_json(SavedWeight, item, f"backbone_weights[{i}]") for i, item in enumerate(value))
    for weight in weights:
        try:
            size = len(weight.values)
        except ValueError as error:
            raise MalformedError(f"the samples of {weight.name!r} are damaged ({error})") from error
        if size % 4 or size > 4 * SAMPLES:
            raise MalformedError(f"the samples of {weight.name!r} are damaged")
    return weights


def _by(metadata: Mapping[str, str]) -> str:
    """Versions of awb that wrote the file and that read it, for an error."""
    try:
        wrote = json.loads(metadata["versions"])["awb"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return ""
    return f" ({str(wrote)[:20]}; this is {_versions()['awb']})"


def _versions() -> dict[str, str]:
    found = {}
    for name in ("awb", "torch", "torchvision", "timm"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # awb run from a checkout, or a backbone without timm
            found[name] = "not installed"
    return found
