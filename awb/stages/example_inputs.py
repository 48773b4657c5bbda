"""Example inputs to trace a model with: the caller's own, or an image of the size that the model was built for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from awb.errors import AWBError
from awb.stages.trace import Trace, trace

Size = int | tuple[int, int]
_BATCH = 2  # more than one, so that a batch axis is told from an axis of length 1


@torch.inference_mode(False)
def trace_model(model: nn.Module, input_size: Size | None = None, example_input: Any = None) -> Trace:
    """Trace `model` on `example_input`, or on an image of `input_size`, or on its own default size.

    Args:
        model: Any module.
        input_size: Side, or (height, width), of the image in pixels.
        example_input: A tensor, a tuple of positional arguments or a dict of keyword arguments.

    Raises:
        AWBError: Both are given, the size is malformed, or the model does not run on the input.
    """
    if example_input is not None:
        if input_size is not None:
            raise AWBError("pass input_size or example_input, not both")
        return trace(model, *as_arguments(example_input))
    size = as_size(input_size) if input_size is not None else default_size(model)
    failures: list[AWBError] = []
    for channels in _input_channels(model):
        try:
            return trace(model, (torch.empty(_BATCH, channels, *size, dtype=torch.float32, device="meta"),))
        except AWBError as error:
            failures.append(error)
    raise failures[0]


def as_arguments(example_input: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments for the model, from an example input."""
    if isinstance(example_input, Mapping):
        return (), dict(example_input)
    if isinstance(example_input, tuple):
        return example_input, {}
    if isinstance(example_input, Tensor | list):
        return (example_input,), {}
    raise AWBError(
        f"example_input is a {type(example_input).__name__}; expected a tensor, a tuple of arguments or a dict"
    )


def as_size(size: Size) -> tuple[int, int]:
    """(height, width) from a side or a pair."""
    pair = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if len(pair) != 2 or not all(isinstance(n, Integral) and not isinstance(n, bool) and n > 0 for n in pair):
        raise AWBError(f"input_size={size!r}: expected a positive int or (height, width)")
    return int(pair[0]), int(pair[1])


def default_size(model: nn.Module) -> tuple[int, int]:
    """Height and width of the images that a model was built for.

    `patch_embed.img_size` (timm's transformers), `image_size` (torchvision's ViT, Hugging Face's
    config), then timm's `pretrained_cfg`, which keeps the pretrained size whatever the model was
    built with; else 299 for torchvision's Inception-v3 and 224.
    """
    config = getattr(model, "pretrained_cfg", None) or {}
    candidates = (
        getattr(getattr(model, "patch_embed", None), "img_size", None),
        getattr(model, "image_size", None),
        getattr(getattr(model, "config", None), "image_size", None),
        tuple(config["input_size"][-2:]) if config.get("input_size") else None,
    )
    for size in candidates:
        if isinstance(size, int):
            return size, size
        if isinstance(size, list | tuple) and len(size) == 2:
            return int(size[0]), int(size[1])
    return (299, 299) if type(model).__name__ == "Inception3" else (224, 224)


def _input_channels(model: nn.Module) -> Iterator[int]:
    """Numbers of input channels to try: 3, then the first convolution's, for models with `in_chans=1`."""
    yield 3
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is not None and first.in_channels != 3:
        yield first.in_channels
