"""What a caller has asked of blocks for a while: to stay off, or to show their maps.

It belongs to the thread (and asyncio task) that asked, so that what one does never reaches another's forward pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from torch import Tensor

# by the blocks' keys, which a copy of a block does not share
_OFF: ContextVar[frozenset[int]] = ContextVar("awb_off", default=frozenset())
_CAPTURED: ContextVar[Mapping[int, list[Tensor]]] = ContextVar("awb_captured", default=MappingProxyType({}))


@contextmanager
def switched_off(keys: Iterable[int]) -> Iterator[None]:
    """Blocks with these keys return their input, in this thread and while the context is open."""
    token = _OFF.set(_OFF.get().union(keys))
    try:
        yield
    finally:
        _OFF.reset(token)


@contextmanager
def captured_into(lists: Mapping[int, list[Tensor]]) -> Iterator[None]:
    """Blocks with these keys leave their latest map in their list, in this thread and while the context is open."""
    token = _CAPTURED.set({**_CAPTURED.get(), **lists})
    try:
        yield
    finally:
        _CAPTURED.reset(token)


def is_off(key: int) -> bool:
    """Whether this thread has switched the block off."""
    return key in _OFF.get()


def capture_list(key: int) -> list[Tensor] | None:
    """Where this thread wants the block's map; None if nowhere."""
    return _CAPTURED.get().get(key)
