"""Record the calls of modules in a run of a model, with inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from awb.private_apis import version
from awb.stages.copying import to_meta
from awb.stages.tensors import tensors_in

Element = int | str | None


@dataclass(frozen=True)
class Call:
    """One call of one module.

    Attributes:
        name: The module's path.
        inputs: All tensors in its arguments, however deep.
        outputs: (element, tensor, version when it was returned) of its output; the element is None for a plain tensor.
        returned: All tensors in its output, however deep.
        sizes: (element, (height, width)) of pairs of ints that are returned beside tokens of as many positions.
        started, finished: Positions in the sequence of all starts and ends.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[tuple[Element, Tensor, int], ...]
    returned: tuple[Tensor, ...]
    sizes: tuple[tuple[int | str, tuple[int, int]], ...]
    started: int
    finished: int

    def output(self, element: Element) -> Tensor | None:
        """The tensor at an element of the output; None if there is none."""
        return next((t for e, t, _ in self.outputs if e == element), None)

    def grids(self, batch: int) -> Iterator[tuple[Element, tuple[int, int]]]:
        """(element, (height, width)) of its N×C×H×W outputs with N = `batch`: a position bias is 1×heads×L×L."""
        for element, tensor, _ in self.outputs:
            if tensor.ndim == 4 and tensor.shape[0] == batch:
                yield element, (int(tensor.shape[2]), int(tensor.shape[3]))


class Watch:
    """Record the calls of all modules while the context is open, without the values of tensors.

    Attributes:
        model: The model.
        calls: The calls, in the order in which they finished.
        saw_values: True if any tensor had values.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.calls: list[Call] = []
        self.saw_values = False
        self._names = {id(m): name for name, m in model.named_modules()}
        self._shapes = WeakTensorKeyDictionary()
        self._started: list[int] = []
        self._clock = 0
        self._handles: list[Any] = []

    def __enter__(self) -> Watch:
        for module in self.model.modules():
            self._handles.append(module.register_forward_pre_hook(self._before))
            # first, as a block would be: it sees what the module returns before other hooks do
            self._handles.append(module.register_forward_hook(self._after, with_kwargs=True, prepend=True))
        return self

    def __exit__(self, *exc: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def _before(self, module: nn.Module, args: Any) -> None:
        self._started.append(self._tick())

    def _after(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        inputs = tuple(map(self._shape, tensors_in((args, kwargs))))
        outputs = tuple((e, self._shape(t), version(t)) for e, t in elements(output))
        returned = tuple(map(self._shape, tensors_in(output)))
        name = self._names[id(module)]
        started = self._started.pop()
        self.calls.append(Call(name, inputs, outputs, returned, tuple(_sizes(output)), started, self._tick()))

    def _shape(self, tensor: Tensor) -> Tensor:
        """Stand-in without values, the same for the same tensor: keeping tensors would keep all activations."""
        if tensor.is_meta:
            return tensor
        self.saw_values = True
        if tensor not in self._shapes:
            self._shapes[tensor] = to_meta(tensor)
        shape: Tensor = self._shapes[tensor]
        return shape


def elements(output: Any) -> Iterator[tuple[Element, Tensor]]:
    """(element, tensor) for a plain tensor (element None), or for each tensor of a tuple, list or dict."""
    return ((element, value) for element, value in _named(output) if isinstance(value, Tensor))


def _named(output: Any) -> Iterator[tuple[Element, Any]]:
    if isinstance(output, Mapping):
        yield from output.items()
    elif isinstance(output, list | tuple):
        yield from enumerate(output)
    else:
        yield None, output


def _sizes(output: Any) -> Iterator[tuple[int | str, tuple[int, int]]]:
    """Pairs of ints returned beside tokens: how an embedding may tell the grid where no module returns the map."""
    lengths = [t.shape[1] for _, t in elements(output) if t.ndim == 3]
    for element, value in _named(output) if lengths else ():
        if element is None or not isinstance(value, list | tuple) or [type(n) for n in value] != [int, int]:
            continue
        height, width = value
        if any(height * width <= length for length in lengths):
            yield element, (height, width)
