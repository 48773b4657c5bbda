"""Networks to explain: those of finished runs, and those that functions of your own return."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from awb import AWBError
from examples.chestxray14.data.splits import held_out
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.explanation.maps import Inputs
from examples.chestxray14.recipes.transforms import Transform
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.predict import load_run


@dataclass(frozen=True)
class Runs:
    """Networks of finished runs with the same inputs.

    Attributes:
        models: Networks in eval mode, by name.
        transform: Transform from an image to their input.
        classes: Names of their logits.
        held_out: Images in the test set of every run that no run was trained or selected on.
    """

    models: dict[str, nn.Module]
    transform: Transform
    classes: tuple[str, ...]
    held_out: frozenset[str]


@dataclass(frozen=True)
class Subjects:
    """Networks to explain on the same inputs.

    Attributes:
        models: Networks in eval mode, by name.
        inputs: Inputs of all networks.
        held_out: Images that no run has seen, as in `Runs`; None if there is no run among the networks.
    """

    models: dict[str, nn.Module]
    inputs: Inputs
    held_out: frozenset[str] | None


def load_subjects(
    store: ImageStore, runs: Sequence[str], functions: Sequence[str], *, size: int | None, classes: tuple[str, ...]
) -> Subjects:
    """Load networks of runs and of functions of your own, to be explained together.

    Args:
        store: Image store.
        runs: Finished runs, each `NAME=FOLDER`.
        functions: Functions that return a network, each `NAME=MODULE:FUNCTION[:ARGUMENT]`.
        size: Side of the networks' input in pixels; by default the runs', or without runs the store's.
        classes: Names of the logits, without runs; runs bring their own.

    Raises:
        AWBError: No networks, a name twice, another size than the runs', or as `load_runs` and `load_models`.
    """
    named([*runs, *functions], "NAME=FOLDER or NAME=MODULE:FUNCTION")
    if not runs and not functions:
        raise AWBError("no model to explain: give --run NAME=FOLDER or --model NAME=MODULE:FUNCTION")
    if not runs:
        return Subjects(load_models(functions), Inputs(store, Transform(size or store.size), classes), None)
    loaded = load_runs({name: Path(path) for name, path in named(runs, "NAME=FOLDER").items()})
    if size not in (None, loaded.transform.size):
        raise AWBError(f"--size {size}: the runs were trained at {loaded.transform.size} pixels")
    inputs = Inputs(store, loaded.transform, loaded.classes)
    return Subjects(loaded.models | load_models(functions), inputs, loaded.held_out)


def load_runs(folders: Mapping[str, Path]) -> Runs:
    """Load the networks of finished runs.

    Args:
        folders: Folders of the runs, by name; at least one.

    Raises:
        AWBError: A folder is not a finished run, or the runs differ in classes, image size or normalisation.
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
    """Load networks, each given as `NAME=MODULE:FUNCTION[:ARGUMENT]`, in eval mode.

    Raises:
        AWBError: Another form, a name given twice, no such function, or one that does not return a module.
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
    """Split each `NAME=VALUE`, and return the values by name.

    Args:
        given: Texts to split.
        expected: Their form, for the error.

    Raises:
        AWBError: A text without a name, or a name given twice.
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
