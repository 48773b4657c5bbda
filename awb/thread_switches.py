"""Per-thread switches of blocks: off, or capturing attention maps.

They belong to the thread (and asyncio task) that set them, and never reach another's forward pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor


@dataclass
class Capture:
    """What is captured of a block, and what is asked for.

    Attributes:
        query: Row and column of the position whose shares are asked for; None for the gates.
        total: The map of the latest forward pass; None before it.
        gates: The gates of the latest forward pass, by what they gate.
    """

    query: tuple[int, int] | None = None
    total: Tensor | None = None
    gates: Mapping[str, Tensor] = field(default_factory=dict)


# by the keys of blocks, which their copies do not share
_OFF: ContextVar[frozenset[int]] = ContextVar("awb_off", default=frozenset())
_CAPTURED: ContextVar[Mapping[int, Capture]] = ContextVar("awb_captured", default=MappingProxyType({}))


@contextmanager
def switched_off(keys: Iterable[int]) -> Iterator[None]:
    """Switch off the blocks with these keys while the context is open: they return their input."""
    token = _OFF.set(_OFF.get().union(keys))
    try:
        yield
    finally:
        _OFF.reset(token)


@contextmanager
def captured_into(captures: Mapping[int, Capture]) -> Iterator[None]:
    """Let the blocks with these keys put their latest maps into their capture while the context is open."""
    token = _CAPTURED.set({**_CAPTURED.get(), **captures})
    try:
        yield
    finally:
        _CAPTURED.reset(token)


def is_off(key: int) -> bool:
    """True if this thread has switched off the block with this key."""
    return key in _OFF.get()


def capture_of(key: int) -> Capture | None:
    """Capture in which this thread keeps the block's maps; None if it keeps none."""
    return _CAPTURED.get().get(key)
