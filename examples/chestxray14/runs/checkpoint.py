"""Checkpoints and weights on the disk: whole or not at all, and strict when they are read."""

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
from awb.errors import shortlist
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.files.sealed_zip import check_seal, seal

FORMAT = "chestxray14 checkpoint, version 1"
_METADATA = "run"


def save_checkpoint(path: Path, identity: Mapping[str, str], content: Mapping[str, Any]) -> None:
    """Write a checkpoint with its checksum. A crash at any moment leaves the old one or the new one, whole.

    Args:
        path: The file.
        identity: What the run is a function of (recipe, split, …), by name.
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
    """Read a checkpoint of this very run. It is compared with its checksum before anything of it is used.

    Args:
        path: The file.
        identity: What the run is a function of.
        keys: The content that is expected.
        optional: Content that earlier versions have not written.
        say: Called with a line if the checkpoint, which is then of an earlier version, has no checksum.

    Raises:
        AWBError: It is damaged, of another format or run, or its content is not `keys`; each is named.
    """
    try:
        if not check_seal(path):
            say(f"{path} has no checksum, for an earlier version wrote it: it could not be checked as a whole")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (ValueError, RuntimeError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile) as error:
        raise AWBError(
            f"{path} is damaged or no checkpoint: {_first_line(error)}; put it back, or delete it to train from the "
            "beginning"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise AWBError(f"{path} has format {found!r}; expected {FORMAT!r}")
    require_same_run(path, content["identity"], identity)
    _require_keys(str(path), content.keys() - {"format", "identity"} - optional, keys)
    return content


def require_same_run(where: object, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Refuse to go on with another recipe, split, store, … than the run began with.

    Raises:
        AWBError: Names what differs.
    """
    differing = [
        f"{name} was {str(old.get(name))[:12]}, is {str(new.get(name))[:12]}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if differing:
        raise AWBError(
            f"{where} is of another run ({'; '.join(differing)}): give another folder, or what the run began with"
        )


def save_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a state dict as safetensors, whole or not at all."""
    write_atomically(path, weights_file(state, metadata))


def weights_file(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A state dict as safetensors; the same one is the same bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    # as one text: safetensors writes several in any order, and the same weights would be another file each time
    text = json.dumps(dict(metadata), sort_keys=True)
    return safetensors.torch.save(tensors, {_METADATA: text})


def load_weights(path: Path, model: nn.Module, metadata: Mapping[str, str]) -> None:
    """Load what `save_weights` wrote into a model: all of it, or nothing.

    Args:
        path: The file.
        model: Its keys and shapes must be the file's.
        metadata: What the file's metadata must say.

    Raises:
        AWBError: No such file, a damaged one, or other keys, shapes or metadata; they are named.
    """
    if not path.is_file():
        raise AWBError(f"no weights {path}: the training has not finished")
    try:
        with safetensors.safe_open(path, "pt") as file:
            found = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
    except safetensors.SafetensorError as error:
        raise AWBError(f"{path} is damaged or no safetensors file: {error}") from None
    require_same_run(path, {name: found.get(name, "missing") for name in metadata}, metadata)
    load_state(str(path), model, state)


def load_state(where: str, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """`load_state_dict` that changes nothing unless everything fits.

    Raises:
        AWBError: Keys are missing or unknown, or shapes differ; they are named.
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


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _require_keys(where: str, found: Any, expected: Any) -> None:
    missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    problems = [f"missing {shortlist(missing, 4)}"] if missing else []
    problems += [f"unknown {shortlist(unknown, 4)}"] if unknown else []
    if problems:
        raise AWBError(f"{where} does not fit: {'; '.join(problems)}")
