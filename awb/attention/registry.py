"""The registry of attention kinds by name.

A kind is a factory `(channels, **kwargs) -> nn.Module` whose modules map N×C×H×W to the same shape. A module
may offer `reset_identity()` (make the block return its input exactly, and still learn), `gates(x)` and
`attention_map(x)` (the maps that multiply `x`, and their product), or `query_map(x, row, column)` (the share that one
position takes from every other).
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TypeVar, get_args

import torch
from torch import nn

from awb.attention.info import AttentionInfo, GateName, Identity
from awb.errors import AWBError, did_you_mean

Factory = Callable[..., nn.Module]
F = TypeVar("F", bound=Factory)

_FACTORIES: dict[str, Factory] = {}
_INFOS: dict[str, AttentionInfo] = {}
_REFUSED: dict[str, str] = {}
_OTHER_NAMES: dict[str, str] = {}
_MAPS = ("attention_map", "query_map")


def register_attention(name: str, info: AttentionInfo | None = None) -> Callable[[F], F]:
    """Register a factory, or a module class, as an attention kind.

    Args:
        name: The name for `attach_awb(..., attention=name)`; it must be free.
        info: What `attention_info` and the filters of `list_attention` tell of it.

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
        if name in _FACTORIES or name in _REFUSED or name in _OTHER_NAMES:
            raise AWBError(f"attention {name!r} is already registered; choose another name")
        _FACTORIES[name] = factory
        has_map = any(hasattr(factory, method) for method in _MAPS)
        _INFOS[name] = dataclasses.replace(info or AttentionInfo(name), name=name, has_map=has_map)
        return factory

    return register


def refuse_attention(name: str, reason: str) -> None:
    """Register a name that users may ask for but that cannot be built, with the reason for the error."""
    _REFUSED[name] = reason


def name_also(name: str, other: str) -> None:
    """Let users ask for a kind by another name, which is not listed."""
    _OTHER_NAMES[other] = name


def list_attention(
    pattern: str = "*",
    *,
    gates: GateName | None = None,
    identity: Identity | None = None,
    max_params: int | None = None,
    channels: int = 256,
    has_map: bool | None = None,
) -> list[str]:
    """Names of the attention kinds that can be built, sorted.

    Args:
        pattern: Names as in a shell: `"timm_*"`, `"ls?"`.
        gates: Only kinds that multiply the input by such a gate; see `AttentionInfo`.
        identity: Only kinds that start as the identity in this way; see `AttentionInfo`.
        max_params: Only kinds with at most this number of parameters at `channels` channels, by their default options.
        channels: The channels for `max_params`; kinds that cannot be built for them are left out.
        has_map: Only kinds with a map for `capture_attention`, or only those without.

    Raises:
        AWBError: No such gate or identity exists.

    Examples:
        >>> import awb
        >>> awb.list_attention("ls*")
        ['lsk', 'lsk_block', 'lska']
        >>> awb.list_attention(gates="channel", identity="exact")
        ['gct']
    """
    for given, known, word in ((gates, get_args(GateName), "gates"), (identity, get_args(Identity), "identity")):
        if given is not None and given not in known:
            raise AWBError(f"{word}={given!r}: expected one of {', '.join(map(repr, known))}")
    found = [
        info
        for name, info in ((name, _INFOS[name]) for name in sorted(_FACTORIES))
        if fnmatchcase(name, pattern)
        and (gates is None or gates in info.gates)
        and (identity is None or identity == info.identity)
        and (has_map is None or has_map == info.has_map)
    ]
    if max_params is None:
        return [info.name for info in found]
    counted = ((info.name, parameters_if_built(info.name, channels)) for info in found)
    return [name for name, number in counted if number is not None and number <= max_params]


def parameters_if_built(name: str, channels: int) -> int | None:
    """Number of a kind's parameters; None if it cannot be built for these channels."""
    try:
        return count_parameters(name, channels)
    except AWBError:
        return None


def count_parameters(name: str, channels: int, **options: object) -> int:
    """Number of parameters of a kind at `channels` channels.

    Raises:
        AWBError: As `create_attention`.
    """
    with torch.device("meta"):
        return sum(p.numel() for p in create_attention(name, channels, **options).parameters())


def attention_info(name: str) -> AttentionInfo:
    """What is known of an attention kind: paper, gates, parameters, identity, limits.

    Args:
        name: A name from `list_attention()`.

    Raises:
        AWBError: The name is unknown or refused.

    Examples:
        >>> import awb
        >>> info = awb.attention_info("se")
        >>> info.title, info.paper.arxiv, info.gates, info.identity
        ('Squeeze-and-Excitation', '1709.01507', ('channel',), 'gamma')
    """
    find_factory(name)
    return _INFOS[_OTHER_NAMES.get(name, name)]


def find_factory(name: str) -> Factory:
    """Factory of a kind.

    Raises:
        AWBError: The name is unknown, or refused (with the reason).
    """
    if not isinstance(name, str):
        raise AWBError(
            f"attention={name!r}: expected a name; give a class or factory one with register_attention('name')"
        )
    name = _OTHER_NAMES.get(name, name)
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
