"""Pretrained weights of libraries, and one sentence of advice where they cannot be had."""

from __future__ import annotations

import http.client
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch

from awb import AWBError
from awb.errors import first_line

WITHOUT = "--weights FILE begins with a file of yours, --set model.pretrained=false without any"
# requests', httpx's and the Hugging Face hub's errors are OSErrors, as urllib's are
_UNREACHABLE = (OSError, http.client.HTTPException)
_UNREADABLE = (RuntimeError, EOFError, pickle.UnpicklingError, safetensors.SafetensorError)


class Source(NamedTuple):
    """Where a library takes weights from.

    Attributes:
        origin: What it downloads.
        place: Where it looks first on this disk.
        remedy: How the file gets there without a network here.
    """

    origin: str
    place: Path
    remedy: str


def url_source(url: str) -> Source:
    """A file that torch.hub downloads."""
    place = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    return Source(url, place, f"put the file of {url} at {place}")


def timm_source(config: Any) -> Source:
    """Where timm takes the weights of a pretrained configuration from: the Hugging Face hub if it can, else a URL."""
    if not config.hf_hub_id:
        return url_source(config.url)
    from huggingface_hub.constants import HF_HUB_CACHE

    repository = config.hf_hub_id
    place = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    return Source(
        f"https://huggingface.co/{repository}", place,
        f"`hf download {repository}` where there is a network writes such a folder: copy it to {place}",
    )  # fmt: skip


@contextmanager
def explained(name: str, source: Source) -> Iterator[None]:
    """Turn errors of a library that downloads and loads weights into one sentence.

    Raises:
        AWBError: The weights cannot be downloaded, or what is on the disk is damaged or does not fit.
    """
    try:
        yield
    except _UNREACHABLE as error:
        raise AWBError(
            f"the weights of {name} could not be downloaded ({_reason(error)}): {source.remedy}; {WITHOUT}"
        ) from None
    except _UNREADABLE as error:
        raise AWBError(
            f"the weights of {name} at {source.place} are damaged ({_reason(error)}): delete that file, and they are "
            f"downloaded again; {WITHOUT}"
        ) from None


def _reason(error: BaseException) -> str:
    return first_line(error).strip().rstrip(".:")
