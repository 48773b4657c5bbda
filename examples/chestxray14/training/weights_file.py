"""A file with weights of a backbone, which `--weights` names in place of the library's pretrained ones."""

from __future__ import annotations

import pickle
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from awb import AWBError
from awb.classifier import AUXILIARY, find_classifier
from awb.errors import did_you_mean, shortlist
from examples.chestxray14.files.checksums import file_digest

_INSIDE = ("state_dict", "model")  # keys under which training scripts save the weights
_PARALLEL = "module."  # what DistributedDataParallel puts before each name
# torchvision's files of DenseNets are older than its names
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")


def weights_identity(path: Path | None) -> dict[str, str]:
    """SHA-256 of the file that a run begins with, as a part of the run's identity; empty without a file.

    Raises:
        AWBError: There is no such file.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise AWBError(f"--weights {path}: no such file")
    return {"weights": file_digest(path)}


def load_backbone(model: nn.Module, path: Path, name: str) -> None:
    """Load a file's weights into a backbone, all of them but the classifier's, or none.

    Args:
        model: Backbone with its original classifier, which may have any shape.
        path: A safetensors file, or one of `torch.save` with a state dict, or with one under `state_dict` or `model`.
        name: The recipe's name of the backbone, for errors.

    Raises:
        AWBError: The file is missing, damaged, or of another network; the message names what does not fit.
    """
    where = f"--weights {path}"
    state = _filtered(model, _state_dict(_read(path), where), where)
    heads = (*find_classifier(model), *AUXILIARY)
    own = {key: tensor for key, tensor in model.state_dict().items() if not _is_below(key, heads)}
    found = {key: tensor for key, tensor in state.items() if not _is_below(key, heads)}
    missing = [key for key in own if key not in found and not key.endswith("num_batches_tracked")]
    unknown = [key for key in found if key not in own]
    wrong = [
        f"{key} is {tuple(found[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in own.items()
        if key in found and found[key].shape != tensor.shape
    ]
    problems = [f"missing {shortlist(missing, 3)}"] if missing else []
    problems += [f"unknown {shortlist(unknown, 3)}{did_you_mean(unknown[0], missing)}"] if unknown else []
    problems += [shortlist(wrong, 3)] if wrong else []
    if problems:
        raise AWBError(f"{where} is not of {name}: {'; '.join(problems)}")
    model.load_state_dict({**model.state_dict(), **found})


def _read(path: Path) -> Any:
    if not path.is_file():
        raise AWBError(f"--weights {path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (
        safetensors.SafetensorError, OSError, ValueError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:  # fmt: skip
        # not torch's own words, which advise to load whatever the file holds
        raise AWBError(
            f"--weights {path} is damaged, or neither a safetensors file nor one that torch.load reads with "
            f"weights_only=True ({type(error).__name__})"
        ) from None


def _state_dict(content: Any, where: str) -> dict[str, Tensor]:
    for key in _INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        keys = shortlist(map(str, content), 4) if isinstance(content, Mapping) else type(content).__name__
        raise AWBError(f"{where} has no state dict, by itself or under {' or '.join(_INSIDE)}: it has {keys}")
    if content and all(key.startswith(_PARALLEL) for key in content):
        return {key.removeprefix(_PARALLEL): tensor for key, tensor in content.items()}
    return dict(content)


def _filtered(model: nn.Module, state: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """The state dict by the network's present names, as its library converts its own files."""
    if type(model).__name__.startswith("DenseNet"):
        return {_OLD_DENSENET.sub(r"\1\2", key): tensor for key, tensor in state.items()}
    home = type(model).__module__
    convert = getattr(sys.modules[home], "checkpoint_filter_fn", None) if home.startswith("timm.") else None
    if convert is None:
        return state
    try:
        return dict(convert(dict(state), model))
    except Exception as error:  # it expects names that another network's file lacks
        raise AWBError(f"{where}: timm cannot convert it for {type(model).__name__} ({error!r})") from error


def _is_below(key: str, paths: tuple[str, ...]) -> bool:
    return any(key.startswith(f"{path}.") for path in paths)
