"""Undo the side effects of hooks on objects outside their model."""

from __future__ import annotations

import copy
import dis
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any


class OutsideState:
    """Lists, dictionaries, sets and globals that hooks reach and the model does not own."""

    def __init__(self) -> None:
        self._places: dict[int, Any] = {}
        self._globals: list[tuple[dict[str, Any], set[str]]] = []
        self._code: set[FunctionType] = set()

    def note(self, value: Any) -> None:
        """Note a value that a hook refers to, and its attributes."""
        attributes = {} if isinstance(value, type | ModuleType) else getattr(value, "__dict__", {})
        for place in (value, attributes, *attributes.values()):
            if isinstance(place, dict | list | set | deque):
                self._places[id(place)] = place

    def note_code(self, function: Any, owner: type = object) -> None:
        """Note the globals that a function uses, also through functions of its module and class."""
        if not isinstance(function, FunctionType) or function in self._code:
            return
        self._code.add(function)
        for name in function.__code__.co_names:
            value = function.__globals__.get(name)
            if not callable(value):
                self.note(value)
            elif getattr(value, "__module__", None) == function.__module__:
                self.note_code(value)
            self.note_code(getattr(owner, name, None), owner)
        stored = {i.argval for i in dis.get_instructions(function) if i.opname == "STORE_GLOBAL"}
        if stored:
            self._globals.append((function.__globals__, stored & function.__globals__.keys()))

    @contextmanager
    def as_before(self) -> Iterator[None]:
        """Restore, at the end of the context, everything that was noted."""
        contents = [(place, copy.copy(place)) for place in self._places.values()]
        values = [(namespace, {name: namespace[name] for name in names}) for namespace, names in self._globals]
        try:
            yield
        finally:
            for place, before in contents:
                _put_back(place, before)
            for namespace, before in values:
                namespace.update(before)


def _put_back(place: Any, before: Any) -> None:
    if isinstance(place, dict):
        for key in place.keys() - before.keys():
            del place[key]
        for key, value in before.items():
            place[key] = value
    else:
        place.clear()
        extend: Any = place.update if isinstance(place, set) else place.extend
        extend(before)
