"""The models that `explain` is given: finished runs, and what functions of your own return."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from awb import AWBError
from examples.chestxray14.data.splits import held_out
from examples.chestxray14.recipes.transforms import Transform
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.predict import load_run


@dataclass(frozen=True)
class Runs:
    """Networks of finished runs, which share their inputs.

    Attributes:
        models: By name, in eval mode.
        transform: What makes their input of an image.
        classes: Their logits.
        held_out: Images that all of them are tested on, and none has trained or chosen its weights on.
    """

    models: dict[str, nn.Module]
    transform: Transform
    classes: tuple[str, ...]
    held_out: frozenset[str]


def load_runs(folders: Mapping[str, Path]) -> Runs:
    """The networks that some runs have trained.

    Args:
        folders: Of the runs, by name; at least one.

    Raises:
        AWBError: A folder is no finished run, or the runs differ in classes, image size or normalisation.
    """
    models, inputs, tested = {}, {}, []
    for name, path in folders.items():
        folder = RunFolder(path)
        recipe, info = folder.read_recipe(), folder.read_info()
        classes, transform = tuple(info["classes"]), recipe.data.transform(training=False)
        models[name], inputs[name] = load_run(path), (transform, classes)
        tested.append(held_out(folder.read_split()))
    first, *others = inputs
    for name in others:
        if inputs[name] != inputs[first]:
            raise AWBError(
                f"runs {first!r} and {name!r} differ in classes, image size or normalisation; explain them apart"
            )
    return Runs(models, *inputs[first], frozenset.intersection(*tested))


def load_models(given: Sequence[str]) -> dict[str, nn.Module]:
    """The models that `NAME=MODULE:FUNCTION[:ARGUMENT]` name, in eval mode.

    Raises:
        AWBError: Not of that form, a name twice, no such function, or what it returns is no module.
    """
    models: dict[str, nn.Module] = {}
    for name, source in named(given, "NAME=MODULE:FUNCTION or NAME=MODULE:FUNCTION:ARGUMENT").items():
        module, _, rest = source.partition(":")
        function, colon, argument = rest.partition(":")
        if not (module and function):
            raise AWBError(f"{name}={source}: expected NAME=MODULE:FUNCTION or NAME=MODULE:FUNCTION:ARGUMENT")
        try:
            build = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise AWBError(f"{name}={source}: {error}") from error
        model = build(argument) if colon else build()
        if not isinstance(model, nn.Module):
            raise AWBError(f"{name}={source} returned a {type(model).__name__}; expected a torch.nn.Module")
        models[name] = model.eval()
    return models


def named(given: Iterable[str], expected: str) -> dict[str, str]:
    """What follows each `NAME=`.

    Raises:
        AWBError: There is no name, or one comes twice.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise AWBError(f"{text!r}: expected {expected}")
        if name in found:
            raise AWBError(f"two models are named {name!r}; give each a name of its own")
        found[name] = value
    return found
