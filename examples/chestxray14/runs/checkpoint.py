"""Checkpoints and weights on disk: written atomically, and checked strictly when read."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from awb import AWBError
from awb.errors import first_line, shortlist
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.files.sealed_zip import check_seal, seal

FORMAT = "chestxray14 checkpoint, version 1"
_METADATA = "run"
_SHA256 = 64  # letters


def save_checkpoint(path: Path, identity: Mapping[str, str], content: Mapping[str, Any]) -> None:
    """Write a checkpoint with its checksum; a crash at any moment leaves the complete old one or the complete new one.

    Args:
        path: File to write.
        identity: Checksums of everything that determines the run (recipe, split, …), by name.
        content: Tensors and plain values.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "identity": dict(identity), **content}, buffer)
    seal(buffer)
    write_atomically(path, buffer.getbuffer())


def load_checkpoint(
    path: Path,
    identity: Mapping[str, str],
    keys: set[str],
    optional: Set[str] = frozenset(),
    *,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Read a checkpoint of the same run, after comparing it with its checksum.

    Args:
        path: File to read.
        identity: Checksums of everything that determines the run.
        keys: Expected keys of the content.
        optional: Keys that earlier versions did not write.
        say: Called with a line of text if an earlier version wrote the checkpoint, without a checksum.

    Raises:
        AWBError: The checkpoint is damaged, has another format, belongs to another run, or has keys missing or
            unknown; the message names them.
    """
    try:
        if not check_seal(path):
            say(f"{path} has no checksum, since an earlier version wrote it: it could not be checked as a whole")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (ValueError, RuntimeError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile) as error:
        raise AWBError(
            f"{path} is damaged or not a checkpoint: {first_line(error)}; restore it, or delete it to train from the "
            "beginning"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise AWBError(f"{path} has format {found!r}; expected {FORMAT!r}")
    require_same_run(path, content["identity"], identity)
    _require_keys(str(path), content.keys() - {"format", "identity"} - optional, keys)
    return content


def require_same_run(where: object, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Refuse to continue a run with another recipe, split, image store, … than it began with.

    Raises:
        AWBError: Something differs; the message names it.
    """
    differing = [
        f"{name} was {_start(old.get(name))}, is {_start(new.get(name))}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if differing:
        raise AWBError(
            f"{where} is of another run ({'; '.join(differing)}): give another folder, or what the run began with"
        )


def _start(value: str | None) -> str:
    """A value as far as an error shows it: 12 letters of a checksum, more of names."""
    text = str(value)
    return text[:12] if len(text) == _SHA256 else text[:200]


def save_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a state dict as safetensors, atomically."""
    write_atomically(path, weights_file(state, metadata))


def weights_file(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Bytes of a state dict as safetensors; equal state dicts give equal bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    # as one entry: safetensors writes several in any order, so that equal weights would give different files
    text = json.dumps(dict(metadata), sort_keys=True)
    return safetensors.torch.save(tensors, {_METADATA: text})


def load_weights(path: Path, model: nn.Module, metadata: Mapping[str, str]) -> None:
    """Load weights that `save_weights` wrote into a model: all of them, or none.

    Args:
        path: File to read.
        model: Model with the same keys and shapes.
        metadata: Expected metadata of the file.

    Raises:
        AWBError: The file is missing or damaged, or has other keys, shapes or metadata; the message names them.
    """
    if not path.is_file():
        raise AWBError(f"no weights {path}: the run has not finished")
    try:
        with safetensors.safe_open(path, "pt") as file:
            found = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except safetensors.SafetensorError as error:
        raise AWBError(f"{path} is damaged or not a safetensors file: {error}") from None
    require_same_run(path, {name: found.get(name, "missing") for name in metadata}, metadata)
    load_state(str(path), model, state)


def load_state(where: str, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict only if all of it fits; otherwise the model stays as it was.

    Raises:
        AWBError: Keys are missing or unknown, or shapes differ; the message names them.
    """
    own = model.state_dict()
    _require_keys(where, state.keys(), own.keys())
    wrong = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if state[name].shape != tensor.shape
    ]
    if wrong:
        raise AWBError(f"{where} does not fit {type(model).__name__}: {shortlist(wrong, 4)}")
    model.load_state_dict(dict(state))


def _require_keys(where: str, found: Any, expected: Any) -> None:
    missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    problems = [f"missing {shortlist(missing, 4)}"] if missing else []
    problems += [f"unknown {shortlist(unknown, 4)}"] if unknown else []
    if problems:
        raise AWBError(f"{where} does not fit: {'; '.join(problems)}")
