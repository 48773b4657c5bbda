"""Find the residual branches of a network: what is added to a shortcut, and the module that ends it.

Papers put attention "in each residual block, before the addition". A branch is found by what happens, not by names:
inside a module, two tensors of one shape are added, one of them (the shortcut) is the module's input or a few layers
away from it, and the other has come through more layers. The place is the first module that returned the other tensor,
or the largest module around it that returned the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from awb.errors import AWBError
from awb.places import Stage
from awb.private_apis import version
from awb.stages.tensors import tensors_in
from awb.stages.trace import Trace

_ADDITIONS = {"add", "add_", "__add__", "__iadd__", "__radd__"}
_SHORTCUT = 3  # most layers of a shortcut: pooling, a 1×1 convolution and its norm


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
        raise AWBError(f"'branches': {name} adds no residual branch to a shortcut; {instead}")
    if numbers is not None:
        first, last = numbers
        if not 1 <= first <= last <= len(stages):
            raise AWBError(f"'branches:{first}-{last}': {name} has stages 1-{len(stages)}, as in 'branches:1-2'")
        ends = [0, *(max(finished[site.module] for site in stage.sites) for stage in stages)]
        branches = [branch for branch in branches if ends[first - 1] <= branch.finished < ends[last]]
        if not branches:
            raise AWBError(f"'branches:{first}-{last}': no residual branch is in these stages of {name}; {instead}")
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
        depth: Depth of its first input tensor.
        sums: Branches that it has added, with the number of elements of the sum.
    """

    name: str
    depth: int | None
    sums: list[tuple[Branch, int]]


class _Additions(TorchFunctionMode):
    """Follows how many layers each tensor has come through, along its shortest way, and notes additions."""

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
            single = bool(args) and isinstance(args[0], Tensor)  # a list of maps has no single shortcut
            if not self._frames:
                for tensor in given:
                    self._set(tensor, 0)
            self._frames.append(_Frame(name, self._of(given) if single else None, []))

        return hook

    def leave(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            frame = self._frames.pop()
            outputs = tensors_in(output)
            self._count += 1
            self.finished[name] = self._count
            sizes = {tensor.numel() for tensor in outputs}  # a part of the map is not the residual sum
            self.branches += [branch for branch, size in frame.sums if size in sizes]
            leaf = next(module.children(), None) is None
            for tensor in outputs:
                if leaf and not any(tensor is given for given in tensors_in(args)):
                    self._set(tensor, (self._of(tensors_in(args)) or 0) + 1)
                self._made.setdefault((id(tensor), version(tensor)), []).append(name)
                self._alive.append(tensor)

        return hook

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        given = tensors_in((args, kwargs or {}))
        known = [tensor for tensor in given if id(tensor) in self._depth]
        added = getattr(func, "__name__", "") in _ADDITIONS and len(known) == 2 and known[0].shape == known[1].shape
        if added:
            self._note(*known)
        depth = self._of(known)
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in(result) if depth is not None else ():
            self._set(tensor, depth)
        return result

    def _note(self, a: Tensor, b: Tensor) -> None:
        frame = self._frames[-1] if self._frames else None
        if frame is None or frame.depth is None or a is b or a.ndim < 3:
            return
        shortcut, branch = sorted((a, b), key=lambda tensor: self._depth[id(tensor)])
        near, far = (self._depth[id(tensor)] for tensor in (shortcut, branch))
        if near < far and 0 <= near - frame.depth <= _SHORTCUT:
            makers = self._made.get((id(branch), version(branch)), [])
            frame.sums.append((Branch(frame.name, _end(frame.name, makers), self._count), branch.numel()))

    def _of(self, tensors: Iterable[Tensor]) -> int | None:
        depths = [self._depth[id(tensor)] for tensor in tensors if id(tensor) in self._depth]
        return min(depths) if depths else None

    def _set(self, tensor: Tensor, depth: int | None) -> None:
        if depth is not None:
            self._depth[id(tensor)] = depth
            self._alive.append(tensor)


def _end(inside: str, makers: Sequence[str]) -> str | None:
    """The first module that returned the tensor, or the largest around it, below the module that adds it."""
    below = [name for name in makers if name.startswith(f"{inside}." if inside else "") and name != inside]
    around = [name for name in below if f"{below[0]}.".startswith(f"{name}.")]
    return min(around, key=len) if around else None
