"""The registry of attention kinds by name.

A kind is a factory `(channels, **kwargs) -> nn.Module` whose modules map N×C×H×W to the same shape. A module
may offer `reset_identity()` (make the block return its input exactly, and still learn) and
`attention_map(x)` (the N×C×H×W map that multiplies `x`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

from torch import nn

from awb.errors import AWBError, did_you_mean

Factory = Callable[..., nn.Module]
F = TypeVar("F", bound=Factory)

_FACTORIES: dict[str, Factory] = {}
_REFUSED: dict[str, str] = {}


def register_attention(name: str) -> Callable[[F], F]:
    """Register a factory, or a module class, as an attention kind.

    Args:
        name: The name for `attach_awb(..., attention=name)`; it must be free.

    Examples:
        >>> import awb
        >>> from torch import nn
        >>> @awb.register_attention("spatial_gate")
        ... class SpatialGate(nn.Module):
        ...     def __init__(self, channels, kernel_size=7):
        ...         super().__init__()
        ...         self.conv = nn.Conv2d(channels, 1, kernel_size, padding="same")
        ...     def forward(self, x):
        ...         return x * self.conv(x).sigmoid()
        >>> "spatial_gate" in awb.list_attention()
        True
    """
    if not isinstance(name, str) or not name:
        raise AWBError(f"register_attention({name!r}): expected a name, as in @register_attention('my_gate')")

    def register(factory: F) -> F:
        if name in _FACTORIES or name in _REFUSED:
            raise AWBError(f"attention {name!r} is already registered; choose another name")
        _FACTORIES[name] = factory
        return factory

    return register


def refuse_attention(name: str, reason: str) -> None:
    """Register a name that users may ask for but that cannot be built, with the reason for the error."""
    _REFUSED[name] = reason


def list_attention() -> list[str]:
    """Names of all attention kinds that can be built."""
    return sorted(_FACTORIES)


def find_factory(name: str) -> Factory:
    """Factory of a kind.

    Raises:
        AWBError: The name is unknown, or refused (with the reason).
    """
    if not isinstance(name, str):
        raise AWBError(
            f"attention={name!r}: expected a name; give a class or factory one with register_attention('name')"
        )
    if name in _REFUSED:
        raise AWBError(f"attention {name!r} is not offered: {_REFUSED[name]}; choose from {list_attention()}")
    if name not in _FACTORIES:
        hint = did_you_mean(name, _FACTORIES)
        raise AWBError(f"no attention {name!r}{hint}: there are {', '.join(list_attention())}")
    return _FACTORIES[name]


def create_attention(name: str, channels: int, **kwargs: object) -> nn.Module:
    """Build an attention module for maps of `channels` channels, with its own initialisation.

    Args:
        name: A name from `list_attention()`.
        channels: Number of channels of the N×C×H×W maps.
        **kwargs: Options of the kind.

    Raises:
        AWBError: The name is unknown or refused, or the kind has no such option.
    """
    factory = find_factory(name)
    if not isinstance(channels, int) or channels < 1:
        raise AWBError(f"channels={channels!r}: expected a positive int")
    options = attention_options(name)
    for key in kwargs:
        if options is not None and key not in options:
            hint = did_you_mean(key, options)
            raise AWBError(f"attention {name!r} has no option {key!r}{hint}: it has {', '.join(options) or 'none'}")
    return factory(channels, **kwargs)


def attention_options(name: str) -> list[str] | None:
    """Names of a kind's options; None if it takes any option."""
    signature = inspect.signature(find_factory(name)).parameters
    if any(p.kind is p.VAR_KEYWORD for p in signature.values()):
        return None
    return list(signature)[1:]
