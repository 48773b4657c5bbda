"""Hints for names that `awb` does not have, and for modules that are called in place of a function."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any, NoReturn

from awb.errors import did_you_mean


class HelperModule(ModuleType):
    """A module of the library that, when called as in `awb.attach(model)`, says which function may be meant."""

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        package, _, name = self.__name__.rpartition(".")
        raise TypeError(f"{self.__name__} is a module{nearest(name, sys.modules[package].__all__)}")


def nearest(name: str, names: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for a name that contains this one as a word, or is spelled like it; else empty."""
    names = list(names)
    of_words = [repr(known) for known in names if name.lower() in known.lower().split("_")]
    return f"; did you mean {' or '.join(of_words[:3])}?" if of_words else did_you_mean(name, names)


def mark_helpers(package: dict[str, Any]) -> None:
    """Turn the modules among a package's globals into `HelperModule`s."""
    for value in package.values():
        if isinstance(value, ModuleType) and value.__name__.startswith(f"{package['__name__']}."):
            value.__class__ = HelperModule
