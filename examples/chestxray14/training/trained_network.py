"""The trained network of a run."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from examples.chestxray14.runs.checkpoint import load_weights
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.networks import build_model


def load_run(path: str | Path) -> nn.Module:
    """The network with its final weights, in eval mode on the CPU; nothing is downloaded.

    Args:
        path: The folder of a finished run.

    Raises:
        AWBError: This is no run, it has not finished, files of it have changed since, or its weights are of another
            training.
    """
    folder = RunFolder(Path(path))
    folder.check()
    recipe, info = folder.read_recipe(), folder.read_info()
    model = build_model(recipe.model, len(info["classes"]), recipe.data.image_size, 0, pretrained=False)
    trained = info["identity"] | {"recipe": recipe.checksum}  # of the recipe as it lies there now
    trained.pop("processes", None)
    load_weights(folder.weights, model, trained)
    return model.eval()
