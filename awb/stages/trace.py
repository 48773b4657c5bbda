"""Trace a model: record which modules run, and what they return, without touching the model.

The model is copied to the meta device (structure without storage), so that tracing reads no weight, changes no
statistic and draws no random number. If that fails since values decide the forward, it is copied with its values.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from operator import or_
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from awb.errors import AWBError
from awb.stages.calls import Call, Element, Watch
from awb.stages.copying import Copy, copy_with_values, meta_copy, to_meta
from awb.stages.randomness import noise_like, random_state, seed_random
from awb.stages.tensors import map_tensors, tensors_in
from awb.stages.untraceable import RandomForward, untraceable
from awb.wrappers import is_offloaded

_VALUES = re.compile("meta tensor|register_meta")  # in torch's errors about values that are not there


@dataclass(frozen=True)
class Trace:
    """The record of a model's run.

    Attributes:
        copied: The traced copy, in eval mode.
        inputs, kwargs: The arguments that it was called with.
        input_size: Height and width of the first image (or video) among the inputs; (0, 0) if there is none.
        calls: Every call in the plain forward, in the order in which they finished.
        counts: Number of calls of each module, by mode.
    """

    copied: Copy
    inputs: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    input_size: tuple[int, int]
    calls: tuple[Call, ...] = ()
    counts: Mapping[str, Counter[str]] = field(default_factory=dict)

    @property
    def model(self) -> nn.Module:
        """The traced copy."""
        return self.copied.model

    def call(self, name: str) -> Call | None:
        """The first call of the module at `name`."""
        return next((c for c in self.calls if c.name == name), None)

    def element(self, name: str, tensor: Tensor) -> Element:
        """Element of the output that is this very tensor, in the first call of the module at `name`."""
        call = self.call(name)
        return next(e for e, t, _ in call.outputs if t is tensor) if call is not None else None

    def times_called(self, name: str) -> dict[str, int]:
        """Number of calls of the module, in each mode where it is not 1."""
        return {mode: counts[name] for mode, counts in self.counts.items() if counts[name] != 1}

    def inside(self, name: str) -> Trace:
        """The trace of a module inside, with paths relative to it."""
        prefix = f"{name}."
        calls = [replace(c, name=c.name[len(prefix) :]) for c in self.calls if c.name.startswith(prefix)]
        part = replace(self.copied, model=self.model.get_submodule(name))
        return replace(self, copied=part, calls=tuple(calls))

    def returning(self, tensor: Tensor, version: int) -> list[str]:
        """Paths of the modules that returned this very tensor at this version, in the order in which they finished."""
        return [c.name for c in self.calls if any(t is tensor and v == version for _, t, v in c.outputs)]

    def runs(self) -> Iterator[Callable[[], None]]:
        """Functions that run the copy on the inputs, one per mode."""
        for mode, run in _modes(self.model):
            if mode in self.counts:
                yield partial(self._run, run)

    def _run(self, run: Callable[..., Any]) -> None:
        """Run the copy on the inputs, without gradients."""
        with self.copied.running():
            run(*self.inputs, **self.kwargs)


@torch.inference_mode(False)  # the versions of tensors tell who changed them
def trace(model: nn.Module, inputs: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> Trace:
    """Trace a copy of `model` in every mode that it has.

    Args:
        model: Any module; it is left exactly as it was.
        inputs: Positional arguments. Only shapes and dtypes of their tensors matter, unless values decide the forward.
        kwargs: Keyword arguments, likewise.

    Raises:
        AWBError: The model cannot run on these inputs.
    """
    _check_parameters(model)
    failures: list[tuple[Copy, AWBError]] = []
    for copied in _copies(model, failures):
        try:
            return _watched(copied, inputs, dict(kwargs or {}))
        except AWBError as failure:
            failures.append((copied, failure))
    # what the model says when it has values and its own hooks
    raise next(failure for copied, failure in failures if copied.has_values)


def _check_parameters(model: nn.Module) -> None:
    """Refuse a model whose parameters are lazy, or offloaded elsewhere."""
    name = type(model).__name__
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise AWBError(f"{name} has lazy layers, whose parameters have no shape yet: run it once first")
    if is_offloaded(model):
        raise AWBError(f"the weights of {name} are offloaded by accelerate: attach first, then offload")


def _copies(model: nn.Module, failures: Sequence[tuple[Copy, AWBError]]) -> Iterator[Copy]:
    """Copies to try in turn: shapes before values, and the model's own hooks before all hooks or none."""
    shapes = meta_copy(model)
    yield shapes
    if shapes.hooks.left_out and not _VALUES.search(str(failures[0][1])):
        yield meta_copy(model, "all")  # it may read what a hook keeps elsewhere
    yield copy_with_values(model)
    if shapes.hooks.left_out:
        yield copy_with_values(model, "all")
    if shapes.hooks.given:
        yield meta_copy(model, "none")


def _watched(copied: Copy, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Trace:
    make = (lambda tensor: _input_with_values(tensor, copied.device)) if copied.has_values else to_meta
    inputs, kwargs = map_tensors((inputs, kwargs), make)
    traced = Trace(copied, inputs, kwargs, _image_size(inputs, kwargs))
    calls: list[Call] = []
    counts: dict[str, Counter[str]] = {}
    for mode, run in _modes(copied.model):
        if mode == "forward":
            calls = _calls_of_forward(traced)
            counts[mode] = Counter(c.name for c in calls)
            continue
        seeds = (0, 1) if copied.has_values else (0,)  # a layer skipped at random is run with one of them
        try:
            counts[mode] = reduce(or_, [_count(traced, run, seed) for seed in seeds])
        except Exception:
            continue  # a mode that the backbone itself cannot run says nothing about sites
    return replace(traced, calls=tuple(calls), counts=counts)


def _calls_of_forward(traced: Trace) -> list[Call]:
    watch = Watch(traced.model)
    try:
        with watch, traced.copied.running():
            before = random_state()
            traced.model(*traced.inputs, **traced.kwargs)
            if traced.copied.has_values and random_state() != before:
                raise RandomForward
            if watch.saw_values and not traced.copied.has_values and traced.copied.hooks.left_out:
                raise AWBError("it reads what a hook has kept")
    except Exception as error:
        raise untraceable(traced.copied, watch.calls, (traced.inputs, traced.kwargs), error) from error
    return watch.calls


def _count(traced: Trace, run: Callable[..., Any], seed: int) -> Counter[str]:
    with Watch(traced.model) as watch, traced.copied.running():
        seed_random(seed)
        run(*traced.inputs, **traced.kwargs)
    return Counter(c.name for c in watch.calls)


def _modes(model: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    yield "forward", model

    def training(*args: Any, **kwargs: Any) -> Any:
        model.train()
        for module in model.modules():
            if getattr(module, "running_mean", None) is not None:
                module.eval()  # batch statistics are slow on meta, and need more than one value
        try:
            return model(*args, **kwargs)
        finally:
            model.eval()

    yield "training", training
    if hasattr(model, "forward_intermediates"):
        yield "forward_intermediates", model.forward_intermediates
    if hasattr(model, "set_grad_checkpointing"):

        def checkpointed(*args: Any, **kwargs: Any) -> Any:
            model.set_grad_checkpointing(True)
            try:
                return model(*args, **kwargs)
            finally:
                model.set_grad_checkpointing(False)

        yield "gradient checkpointing", checkpointed


def _input_with_values(tensor: Tensor, device: torch.device) -> Tensor:
    if tensor.is_meta:
        return noise_like(tensor, device)
    return tensor.detach().to(device, torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)


def _image_size(inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of the first image, in a batch or else in a list of C×H×W images, as detectors take."""
    images = [t for t in tensors_in((inputs, kwargs)) if t.ndim >= 4]
    lists = [value for value in (*inputs, *kwargs.values()) if isinstance(value, list | tuple)]
    images = images or [t for value in lists for t in tensors_in(value) if t.ndim == 3]
    return (int(images[0].shape[-2]), int(images[0].shape[-1])) if images else (0, 0)
