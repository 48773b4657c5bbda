"""A finished run that predicts image files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from awb import AWBError
from examples.chestxray14.data.decode import Decoding, decode
from examples.chestxray14.evaluation.decisions import Decisions, read_decisions, undecided
from examples.chestxray14.prediction.decoding import run_decoding
from examples.chestxray14.prediction.image_files import Skipped, find_files
from examples.chestxray14.prediction.predictions import Predictions
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.transforms import Transform
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.predict import batch_logits, load_run


def load_predictor(
    run: str | Path,
    *,
    store_size: int | None = None,
    store: str | Path | None = None,
    batch_size: int | None = None,
    workers: int = 0,
) -> Predictor:
    """Load a finished run to predict new images, on a GPU if there is one and in the precision of its training.

    Args:
        run: The run's folder.
        store_size: Side of its image store in pixels, for a run of an earlier version, which does not record it.
        store: Its image store, in place of `store_size`.
        batch_size: Images per forward pass; by default as in training.
        workers: Processes that decode images; 0 decodes them in this one.

    Raises:
        AWBError: Not a finished run's folder, or its files changed; or as in `run_decoding`.
    """
    folder = RunFolder(Path(run))
    recipe, info = folder.read_recipe(), folder.read_info()
    decoding = run_decoding(folder, store_size=store_size, store=store)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    device = device or torch.device("cpu")
    return Predictor(
        folder, recipe, decoding, load_run(run).to(device), device,
        read_decisions(folder) or undecided(recipe.task, tuple(info["classes"])),
        batch_size or recipe.data.batch_size, workers,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Predictor:
    """A finished run that predicts image files; `load_predictor` makes it.

    Attributes:
        folder: The run's folder.
        recipe: Recipe that it was trained by.
        decoding: How its images were decoded, and new ones are.
        model: Its network, in eval mode.
        device: Where the network is.
        rules: Thresholds and temperatures of its last evaluation.
        batch_size: Images per forward pass.
        workers: Processes that decode images.
    """

    folder: RunFolder
    recipe: Recipe
    decoding: Decoding
    model: nn.Module
    device: torch.device
    rules: Decisions
    batch_size: int
    workers: int

    @property
    def transform(self) -> Transform:
        """Transform from a decoded image to the network's input."""
        return self.recipe.data.transform(training=False)

    @property
    def synthetic(self) -> bool:
        """True if the run was trained on phantoms."""
        return bool(self.folder.read_info()["origin"] == "phantoms")

    def __call__(self, paths: Iterable[str | Path], *, relative_to: str | Path | None = None) -> Predictions:
        """Predict the files at some paths, as `find_files` finds them; what cannot be read is skipped and named.

        Args:
            paths: Files and folders.
            relative_to: Folder that image names leave out, so that they are those of a table; by default an image's
                name is its path as given.

        Raises:
            AWBError: Nothing is at a path, or a file is not below `relative_to`.
        """
        files, skipped = find_files(paths)
        names = [_name(file, relative_to) for file in files]
        read: list[int] = []
        logits = [torch.zeros(0, len(self.rules.classes))]
        precision = torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.training.precision == "bf16")
        with precision:
            for rows, batch in self._batches(files, skipped):
                logits.append(batch_logits(self.model, batch, self.device))
                read += rows
        return Predictions(
            tuple(names[row] for row in read), tuple(files[row] for row in read), self.rules,
            self.rules.probabilities(torch.cat(logits)), tuple(skipped),
        )  # fmt: skip

    def _batches(self, files: Sequence[Path], skipped: list[Skipped]) -> Iterator[tuple[list[int], Tensor]]:
        """Rows and inputs of the readable files, `batch_size` at a time; the others are added to `skipped`."""
        loader = DataLoader(
            _Inputs(files, self.decoding, self.transform), None, num_workers=self.workers,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        rows: list[int] = []
        inputs: list[Tensor] = []
        for row, loaded in enumerate(tqdm(loader, desc="predicting", unit=" images", leave=False, disable=None)):
            if isinstance(loaded, str):
                skipped.append(Skipped(str(files[row]), loaded))
                continue
            rows.append(row)
            inputs.append(loaded)
            if len(rows) == self.batch_size:
                yield rows, torch.stack(inputs)
                rows, inputs = [], []
        if rows:
            yield rows, torch.stack(inputs)


class _Inputs(Dataset[Tensor | str]):
    """The network's input of each file, or why there is none."""

    def __init__(self, files: Sequence[Path], decoding: Decoding, transform: Transform) -> None:
        self._files, self._decoding, self._transform = files, decoding, transform

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: int) -> Tensor | str:
        if row >= len(self):
            raise IndexError(row)
        try:
            pixels = decode(self._files[row], self._decoding.size, colour=self._decoding.colour)
        except AWBError as error:
            return str(error)
        return self._transform(np.array(pixels))


def _name(file: Path, relative_to: str | Path | None) -> str:
    """Name of an image in the table of predictions."""
    if relative_to is None:
        return str(file)
    name = Path(os.path.relpath(file, relative_to)).as_posix()
    if name.startswith("../"):
        raise AWBError(f"{file} is not below {relative_to}; give a folder that has all images below it")
    return name
