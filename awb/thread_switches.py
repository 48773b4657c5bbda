"""Per-thread switches of blocks: off, or capturing attention maps.

They belong to the thread (and asyncio task) that set them, and never reach another's forward pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from torch import Tensor

# by the keys of blocks, which their copies do not share
_OFF: ContextVar[frozenset[int]] = ContextVar("awb_off", default=frozenset())
_CAPTURED: ContextVar[Mapping[int, list[Tensor]]] = ContextVar("awb_captured", default=MappingProxyType({}))


@contextmanager
def switched_off(keys: Iterable[int]) -> Iterator[None]:
    """Switch off the blocks with these keys while the context is open: they return their input."""
    token = _OFF.set(_OFF.get().union(keys))
    try:
        yield
    finally:
        _OFF.reset(token)


@contextmanager
def captured_into(lists: Mapping[int, list[Tensor]]) -> Iterator[None]:
    """Let the blocks with these keys put their latest map into their list while the context is open."""
    token = _CAPTURED.set({**_CAPTURED.get(), **lists})
    try:
        yield
    finally:
        _CAPTURED.reset(token)


def is_off(key: int) -> bool:
    """True if this thread has switched off the block with this key."""
    return key in _OFF.get()


def capture_list(key: int) -> list[Tensor] | None:
    """List in which this thread collects the block's map; None if it collects none."""
    return _CAPTURED.get().get(key)
