"""Pretrained weights, and one sentence of advice where they are not available."""

from __future__ import annotations

import http.client
import pickle
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torchvision
from torch import nn

from awb import AWBError
from examples.efficientnet_lite0 import load_efficientnet_lite0

_WITHOUT = "or train without them: --set model.pretrained=false"
_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


def load_torchvision(name: str) -> nn.Module:
    """Load a network of torchvision with its ImageNet weights, which are downloaded if they are not on disk.

    Raises:
        AWBError: The weights cannot be downloaded, or the file on disk is damaged.
    """
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    with _explained(name, weights.url):
        return torchvision.models.get_model(name, weights=weights)


def load_packaged() -> nn.Module:
    """Load EfficientNet-Lite0 with its ImageNet weights, which come in a package.

    Raises:
        AWBError: The package is not installed.
    """
    try:
        return load_efficientnet_lite0()
    except ImportError as error:
        raise AWBError(f"no weights of efficientnet_lite0: {error}; {_WITHOUT}") from None


@contextmanager
def _explained(name: str, url: str) -> Iterator[None]:
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    try:
        yield
    except _NETWORK_ERRORS as error:
        raise AWBError(
            f"the weights of {name} could not be downloaded ({error}): put the file of {url} at {path}, {_WITHOUT}"
        ) from None
    except (
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
    ) as error:  # from torch.hub's check or from reading
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AWBError(
            f"the weights of {name} at {path} are damaged ({reason}): delete that file, and they are downloaded again; "
            f"{_WITHOUT}"
        ) from None
