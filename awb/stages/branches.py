"""Find the residual branches of a network: what is added to a shortcut, and the module that ends it.

Papers put attention "in each residual block, before the addition". A branch is found by what happens, not by names:
inside a module, two tensors of one shape are added, one of them (the shortcut) is the module's input or a few layers
away from it, and the other has come through more layers, along its longest way. A layer is a module with parameters of
its own: activations work in place or are part of a norm, so that counting them would compare unlike with unlike. The
place is the first module that returned the other tensor, or the largest module around it that returned the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from awb.errors import AWBError
from awb.places import Stage
from awb.private_apis import own_parameters, version
from awb.stages.tensors import tensors_in
from awb.stages.trace import Trace

_ADDITIONS = {"add", "add_", "__add__", "__iadd__", "__radd__"}
_SHORTCUT = 4  # most layers of a shortcut: GhostNet's has two convolutions and their norms
_BESIDE_LAYERS = 3  # fewest layers of a branch beside such a shortcut: RepVGG adds one convolution in several parts


@dataclass(frozen=True)
class Branch:
    """A residual branch.

    Attributes:
        inside: Path of the module that adds it to its shortcut.
        end: Path of the module whose output is added; None if a function made the tensor.
        finished: Number of module calls that had finished when it was added.
    """

    inside: str
    end: str | None
    finished: int


def branch_ends(traced: Trace, stages: Sequence[Stage], numbers: tuple[int, int] | None = None) -> list[str]:
    """Paths of the modules that end residual branches, in the order in which these are added.

    Args:
        traced: The trace of the model.
        stages: Its numbered stages.
        numbers: Only branches of the stages with these numbers and between them.

    Raises:
        AWBError: There is no such branch, or one ends in a function.
    """
    branches, finished = find_branches(traced)
    name = type(traced.model).__name__
    instead = "choose stages, such as 'all', or modules by path"
    if not branches:
        raise AWBError(f"'branches': {name} adds no residual branch that a module ends to a shortcut; {instead}")
    if numbers is not None:
        first, last = numbers
        asked = f"'branches:{first}'" if first == last else f"'branches:{first}-{last}'"
        if not stages:
            raise AWBError(f"{asked}: no stages known for {name}; 'branches' names all of its residual branches")
        if not 1 <= first <= last <= len(stages):
            raise AWBError(f"{asked}: {name} has stages 1-{len(stages)}, as in 'branches:1-{len(stages)}'")
        ends = [0, *(max(finished[site.module] for site in stage.sites) for stage in stages)]
        branches = [branch for branch in branches if ends[first - 1] <= branch.finished < ends[last]]
        if not branches:
            raise AWBError(f"{asked}: no residual branch is there in {name}; {instead}")
    loose = next((branch for branch in branches if branch.end is None), None)
    if loose is not None:
        raise AWBError(
            f"'branches': what {loose.inside or name} adds to its shortcut is made by a function, not by a module, so "
            f"that no block can follow it; {instead}"
        )
    return [branch.end for branch in branches if branch.end is not None]


def find_branches(traced: Trace) -> tuple[list[Branch], dict[str, int]]:
    """Run the traced copy once more and follow its additions.

    Returns:
        The branches in the order in which they are added, and for each module the number of calls that had finished
        when it finished, itself included.
    """
    names = {module: name for name, module in traced.model.named_modules()}
    watch = _Additions()
    handles = [module.register_forward_pre_hook(watch.enter(name), with_kwargs=True) for module, name in names.items()]
    handles += [module.register_forward_hook(watch.leave(name)) for module, name in names.items()]
    try:
        with watch:
            next(traced.runs())()
    finally:
        for handle in handles:
            handle.remove()
    return watch.branches, watch.finished


@dataclass
class _Frame:
    """A module that is running.

    Attributes:
        name: Its path.
        start: Depth of its first argument; None if that is no tensor (a list of maps has no single shortcut).
        depth: Depth of its deepest argument; None if none of them comes from the model's input.
        given: Ids of its input tensors.
        sums: Branches that it has added, with the number of elements of the sum.
    """

    name: str
    start: int | None
    depth: int | None
    given: set[int]
    sums: list[tuple[Branch, int]]


class _Additions(TorchFunctionMode):
    """Follows how many layers each tensor has come through, and notes additions; a residual sum adds no depth."""

    def __init__(self) -> None:
        super().__init__()
        self.branches: list[Branch] = []
        self.finished: dict[str, int] = {}
        self._count = 0
        self._frames: list[_Frame] = []
        self._depth: dict[int, int] = {}
        self._made: dict[tuple[int, int], list[str]] = {}  # modules that returned a tensor at a version
        self._alive: list[Tensor] = []  # else another tensor may get the id of one that is gone

    def enter(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
            given = tensors_in((args, kwargs))
            if not self._frames:
                for tensor in given:
                    self._set(tensor, 0)
            start = self._depth.get(id(args[0])) if args else None
            self._frames.append(_Frame(name, start, self._of(given), set(map(id, given)), []))

        return hook

    def leave(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            frame = self._frames.pop()
            outputs = tensors_in(output)
            self._count += 1
            self.finished[name] = self._count
            sizes = {tensor.numel() for tensor in outputs}  # a part of the map is not the residual sum
            self.branches += [branch for branch, size in frame.sums if size in sizes]
            is_layer = any(parameter is not None for parameter in own_parameters(module).values())
            for tensor in outputs:
                # what does not come from the input, such as a position bias, has no depth
                if is_layer and frame.depth is not None and id(tensor) not in frame.given:
                    self._set(tensor, max(frame.depth + 1, self._depth.get(id(tensor), 0)))
                self._made.setdefault((id(tensor), version(tensor)), []).append(name)
                self._alive.append(tensor)

        return hook

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        given = tensors_in((args, kwargs or {}))
        known = [tensor for tensor in given if id(tensor) in self._depth]
        added = getattr(func, "__name__", "") in _ADDITIONS and len(known) == 2 and known[0].shape == known[1].shape
        depth = self._note(*known) if added else self._of(known)
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in(result) if depth is not None else ():
            self._set(tensor, depth)
        return result

    def _note(self, a: Tensor, b: Tensor) -> int:
        """Note the addition of two tensors if one is a residual branch, and return the depth of the sum."""
        shortcut, branch = sorted((a, b), key=lambda tensor: self._depth[id(tensor)])
        near, far = (self._depth[id(tensor)] for tensor in (shortcut, branch))
        frame = self._frames[-1] if self._frames else None
        if frame is None or frame.start is None or a.ndim < 3 or not _is_residual(near - frame.start, far - near):
            return far
        end = _end(frame.name, self._made.get((id(branch), version(branch)), []))
        if end is None and near > frame.start:  # a step of a computation, such as FocalNet's sum of contexts
            return far
        frame.sums.append((Branch(frame.name, end, self._count), branch.numel()))
        return near

    def _of(self, tensors: Iterable[Tensor]) -> int | None:
        depths = [self._depth[id(tensor)] for tensor in tensors if id(tensor) in self._depth]
        return max(depths) if depths else None

    def _set(self, tensor: Tensor, depth: int | None) -> None:
        if depth is not None:
            self._depth[id(tensor)] = depth
            self._alive.append(tensor)


def _is_residual(shortcut: int, more: int) -> bool:
    """True if a shortcut of so many layers, and a branch of so many more, are a residual sum."""
    enough = 1 if shortcut == 0 else _BESIDE_LAYERS - shortcut
    return 0 <= shortcut <= _SHORTCUT and more >= max(1, enough)


def _end(inside: str, makers: Sequence[str]) -> str | None:
    """The first module that returned the tensor, or the largest around it, below the module that adds it."""
    below = [name for name in makers if name.startswith(f"{inside}." if inside else "") and name != inside]
    around = [name for name in below if f"{below[0]}.".startswith(f"{name}.")]
    return min(around, key=len) if around else None
