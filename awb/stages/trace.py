"""Watch one run of a model without touching it: who is called, how often, and what comes back.

The model is copied onto the meta device (structure without storage), so tracing reads no weight,
moves no statistic, draws no random number and runs none of the user's hooks.
"""

from __future__ import annotations

import copy
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from awb.errors import AWBError
from awb.hosts import remove_steps

TensorMap = Callable[[Tensor], Tensor]
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # they run a child that is added to them


class _MapTensors(TorchFunctionMode):
    """Under this mode `copy.deepcopy` maps tensors through a function instead of cloning them."""

    def __init__(self, tensor_map: TensorMap) -> None:
        super().__init__()
        self.tensor_map = tensor_map

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.clone:  # how nn.Parameter copies itself
            return self.tensor_map(args[0])
        if func is Tensor.__deepcopy__:
            tensor, memo = args
            if id(tensor) not in memo:
                memo[id(tensor)] = self.tensor_map(tensor).requires_grad_(tensor.requires_grad)
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


def copy_structure(model: nn.Module, tensor_map: TensorMap) -> nn.Module:
    """A deep copy of `model` in eval mode, its tensors mapped by `tensor_map`, without the user's hooks."""
    try:
        with torch.no_grad(), _MapTensors(tensor_map):
            duplicate = copy.deepcopy(model)
    except (TypeError, SystemError) as error:  # a lock, a file, a random generator
        raise AWBError(f"{type(model).__name__} cannot be copied for tracing ({error})") from error
    for module in duplicate.modules():
        remove_steps(module)
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key in [key for key, hook in hooks.items() if not _collects_features(hook)]:
                del hooks[key]
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
    return duplicate.eval()


def _collects_features(hook: Any) -> bool:
    """Whether this is a hook of timm's `features_only` models, which return what their hooks collect."""
    return isinstance(hook, partial) and hook.func.__module__ == "timm.models._features"


def to_meta(tensor: Tensor) -> Tensor:
    """The tensor's shape without its storage; floats become float32, since half-precision models get any input."""
    return tensor.detach().to("meta", torch.float32 if tensor.is_floating_point() else tensor.dtype)


@dataclass(frozen=True)
class Call:
    """One call of one module.

    Attributes:
        name: The module's path.
        inputs: Tensors among its positional arguments.
        outputs: (element, tensor, version when it was returned); element None for a plain tensor.
        started, finished: Position in the sequence of all starts and ends.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[tuple[int | str | None, Tensor, int], ...]
    started: int
    finished: int

    def output(self, element: int | str | None) -> Tensor | None:
        """The returned tensor at `element`, or None if there is none."""
        return next((t for e, t, _ in self.outputs if e == element), None)

    def grids(self, batch: int) -> Iterator[tuple[int | str | None, tuple[int, int]]]:
        """(element, height and width) of its N×C×H×W outputs; a position bias is 1×heads×L×L."""
        for element, tensor, _ in self.outputs:
            if tensor.ndim == 4 and tensor.shape[0] == batch:
                yield element, (int(tensor.shape[2]), int(tensor.shape[3]))


@dataclass(frozen=True)
class Trace:
    """What a run of the model showed.

    Attributes:
        model: The traced copy (meta device, eval mode).
        inputs: What it was called with.
        input_size: Height and width of the first image (or video) among the inputs; (0, 0) if there is none.
        calls: Every call of the plain forward, in the order they finished.
        counts: How often each module was called, by mode.
    """

    model: nn.Module
    inputs: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    input_size: tuple[int, int]
    calls: tuple[Call, ...]
    counts: Mapping[str, Counter[str]] = field(default_factory=dict)

    def call(self, name: str) -> Call | None:
        """The first call of the module at `name`."""
        return next((c for c in self.calls if c.name == name), None)

    def element(self, name: str, tensor: Tensor) -> int | str | None:
        """Where the first call of the module at `name` has this very tensor in its output."""
        call = self.call(name)
        return next(e for e, t, _ in call.outputs if t is tensor) if call is not None else None

    def times_called(self, name: str) -> dict[str, int]:
        """How often the module runs in each mode in which that is not once."""
        return {mode: counts[name] for mode, counts in self.counts.items() if counts[name] != 1}

    def inside(self, name: str) -> Trace:
        """The part of the trace below a module, with paths relative to it."""
        prefix = f"{name}."
        calls = [replace(c, name=c.name[len(prefix) :]) for c in self.calls if c.name.startswith(prefix)]
        return replace(self, model=self.model.get_submodule(name), calls=tuple(calls))

    def returning(self, tensor: Tensor, version: int) -> list[str]:
        """Paths of the modules that returned this very tensor at this version, in order of finishing."""
        return [c.name for c in self.calls if any(t is tensor and v == version for _, t, v in c.outputs)]


@torch.inference_mode(False)  # the versions of tensors tell who changed them
def trace(model: nn.Module, inputs: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> Trace:
    """Run a meta copy of `model` in every mode that it offers.

    Args:
        model: Any module; it is left exactly as it was.
        inputs: Positional arguments; tensors in them are only read for shape and dtype.
        kwargs: Keyword arguments, likewise.

    Raises:
        AWBError: The model cannot run on these inputs.
    """
    duplicate = copy_structure(model, to_meta)
    meta_inputs = torch.utils._pytree.tree_map_only(Tensor, to_meta, inputs)
    meta_kwargs = torch.utils._pytree.tree_map_only(Tensor, to_meta, dict(kwargs or {}))
    size = next((tuple(t.shape[-2:]) for t in _tensors((meta_inputs, meta_kwargs)) if t.ndim >= 4), (0, 0))
    calls: list[Call] = []
    counts: dict[str, Counter[str]] = {}
    for mode, run in _modes(duplicate):
        watch = _Watch(duplicate)
        try:
            with watch, without_side_effects(), torch.device("meta"):
                run(*meta_inputs, **meta_kwargs)
        except Exception as error:
            if mode == "forward":
                raise AWBError(_cannot_trace(model, watch, (meta_inputs, meta_kwargs), error)) from error
            continue  # a mode that the backbone itself cannot run says nothing about sites
        counts[mode] = Counter(c.name for c in watch.calls)
        if mode == "forward":
            calls = watch.calls
    return Trace(duplicate, meta_inputs, meta_kwargs, (size[0], size[1]), tuple(calls), counts)


def _cannot_trace(model: nn.Module, watch: _Watch, inputs: Any, error: Exception) -> str:
    """What to do about a forward that failed: the input may be wrong, or the forward depend on values."""
    shapes = [tuple(t.shape) for t in _tensors(inputs)]
    failed = f"{type(model).__name__} cannot be traced on an input of shape {shapes[0] if len(shapes) == 1 else shapes}"
    if not re.search("meta tensor|register_meta", str(error)):  # what torch says of values that are not there
        return (
            f"{failed} ({type(error).__name__}: {error}); "
            "pass input_size=(height, width) or example_input=… that the model accepts"
        )
    children = dict(watch.modules[0].named_children())
    ran = [c.name for c in watch.calls if c.name in children and list(children[c.name].parameters())]
    return (
        f"{failed}: its forward depends on values (as a detector's does, which keeps some boxes, or one's that draws "
        f"random numbers to skip a layer), and awb traces shapes only; attach to a part that does not, e.g. "
        f"attach_awb(model.{ran[0] if ran else 'backbone'}, …)"
    )


@contextmanager
def without_side_effects() -> Iterator[None]:
    """No gradients, and the global random states as they were afterwards: torch's, Python's and numpy's."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


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


class _Watch:
    """Record the calls of all modules while the context is open."""

    def __init__(self, model: nn.Module) -> None:
        self.names = {id(m): name for name, m in model.named_modules()}
        self.modules = list(model.modules())
        self.calls: list[Call] = []
        self._started: list[int] = []
        self._clock = 0
        self._handles: list[Any] = []

    def __enter__(self) -> _Watch:
        for module in self.modules:
            self._handles.append(module.register_forward_pre_hook(self._before))
            self._handles.append(module.register_forward_hook(self._after))
        return self

    def __exit__(self, *exc: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def _before(self, module: nn.Module, args: Any) -> None:
        self._started.append(self._tick())

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        inputs = tuple(_tensors(args))
        # under inference_mode tensors have no versions
        outputs = tuple((e, t, 0 if t.is_inference() else t._version) for e, t in elements(output))
        name = self.names[id(module)]
        self.calls.append(Call(name, inputs, outputs, self._started.pop(), self._tick()))


def elements(output: Any) -> Iterator[tuple[int | str | None, Tensor]]:
    """(element, tensor) for a tensor (element None), or for the tensors of a tuple, list or dict."""
    if isinstance(output, Tensor):
        yield None, output
    elif isinstance(output, Mapping):
        yield from ((k, v) for k, v in output.items() if isinstance(v, Tensor))
    elif isinstance(output, list | tuple):
        yield from ((i, v) for i, v in enumerate(output) if isinstance(v, Tensor))


def _tensors(tree: Any) -> list[Tensor]:
    return [t for t in torch.utils._pytree.tree_leaves(tree) if isinstance(t, Tensor)]


class _Probe(nn.Module):
    """An extra child that notices when it is run."""

    def __init__(self) -> None:
        super().__init__()
        self.called = False

    def forward(self, *args: Any) -> Any:
        self.called = True
        return args[0] if args else None


def find_homes(traced: Trace, names: list[str], child: str) -> dict[str, str]:
    """For each module, the nearest one on which a block can sit without being run as a layer.

    A module that iterates its children (`nn.Sequential`, DenseNet's dense block, RegNet's stage) would
    run a block added to it. Rule: the module itself, else its last child, else that one's last child, …
    Containers are known by type; the rest is tried: a probe is added to each home and the model run in
    every mode.

    Args:
        traced: A trace of the model.
        names: Paths of the modules.
        child: The name under which the block will be added.
    """
    homes = {name: _below_containers(traced.model, name) for name in names}
    while True:
        run = _run_as_layers(traced, set(homes.values()), child)
        if not run:
            return homes
        for name, home in homes.items():
            if home in run:
                homes[name] = _below_containers(traced.model, _last_child(traced.model, home))


def _run_as_layers(traced: Trace, homes: set[str], child: str) -> set[str]:
    """The homes that run a probe added to them, in the first mode in which any does."""
    probes = {home: _Probe() for home in homes}
    for home, probe in probes.items():
        traced.model.get_submodule(home).add_module(child, probe)
    try:
        for mode, run in _modes(traced.model):
            if mode not in traced.counts:
                continue
            try:
                with without_side_effects(), torch.device("meta"):
                    run(*traced.inputs, **traced.kwargs)
            except Exception:
                # a probe run as a layer may break the forward; any other failure is a real one
                if not any(probe.called for probe in probes.values()):
                    raise
            called = {home for home, probe in probes.items() if probe.called}
            if called:
                return called
    finally:
        for home in homes:
            delattr(traced.model.get_submodule(home), child)
    return set()


def _below_containers(model: nn.Module, name: str) -> str:
    while isinstance(model.get_submodule(name), CONTAINERS):
        name = _last_child(model, name)
    return name


def _last_child(model: nn.Module, name: str) -> str:
    children = [child for child, _ in model.get_submodule(name).named_children()]
    if not children:
        raise AWBError(f"no module at or below {name!r} can hold a block")
    return f"{name}.{children[-1]}" if name else children[-1]
