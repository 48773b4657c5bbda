"""Functions of your own that return a network, and what a recipe gives to them.

A function is called with `backbone_options`, and with those of these that it has a parameter for: `pretrained`,
`weights` (a tag), `drop_path`, `image_size`, `partner`, `num_classes` and `dropout`. With `num_classes` it returns that
many logits; otherwise its classifier is replaced, as by `awb.replace_head`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

from awb import AWBError
from awb.errors import did_you_mean, first_line, shortlist


def import_modules(names: Iterable[str]) -> None:
    """Import modules of your own, such as one that registers an attention kind.

    Raises:
        AWBError: A module cannot be imported.
    """
    for name in names:
        _import(name, "imports")


def find_function(name: str) -> Callable[..., Any]:
    """The function of `MODULE:FUNCTION`.

    Raises:
        AWBError: The module cannot be imported, or has no such function.
    """
    path, _, attribute = name.partition(":")
    module = _import(path, f"backbone own:{name}")
    found = getattr(module, attribute, None)
    if not callable(found):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise AWBError(f"backbone own:{name}: {path} has no function {attribute!r}{did_you_mean(attribute, public)}")
    return found


def takes(function: Callable[..., Any], parameter: str) -> bool:
    """True if a function names a parameter; `**kwargs` takes options only."""
    return parameter in inspect.signature(function).parameters


def call(
    name: str, function: Callable[..., Any], options: Mapping[str, Any], given: Mapping[str, tuple[Any, Any, str]]
) -> nn.Module:
    """Call a function with options, and with what it takes of what a recipe gives.

    Args:
        name: `MODULE:FUNCTION`, for errors.
        function: The function.
        options: The recipe's `backbone_options`.
        given: By parameter, the value; the value that asks for nothing, with which a function may lack the parameter;
            and what to change in the recipe otherwise.

    Raises:
        AWBError: An option is unknown or missing, the function lacks a parameter that the recipe needs, or what it
            returns is not a module.
    """
    where = f"backbone own:{name}"
    parameters = inspect.signature(function).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for option in options:
        if option not in parameters and not open_ended:
            known = [key for key in parameters if key not in given]
            raise AWBError(
                f"{where} has no option {option!r}{did_you_mean(option, known)}; it has {shortlist(known) or 'none'}"
            )
    arguments = dict(options)
    for parameter, (value, nothing, remedy) in given.items():
        if parameter in parameters:
            if value is not None or parameters[parameter].default is not inspect.Parameter.empty:
                arguments[parameter] = value
        elif value != nothing:
            raise AWBError(f"{where} has no parameter {parameter!r}; add one, or {remedy}")
    required = [key for key, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    lacking = [key for key in required if key not in arguments]
    if lacking:
        key = f"model.{lacking[0]}" if lacking[0] in given else f"model.backbone_options.{lacking[0]}"
        raise AWBError(f"{where} needs {', '.join(lacking)}; give {key}")
    model = function(**arguments)
    if not isinstance(model, nn.Module):
        raise AWBError(f"{where} returned a {type(model).__name__}; expected a torch.nn.Module")
    return model


def _import(name: str, where: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever the module does when it is imported
        raise AWBError(
            f"{where}: {name} cannot be imported ({type(error).__name__}: {first_line(error)}); it is "
            "looked for in the current folder and in PYTHONPATH"
        ) from error
