"""Predict: logits of a data set, and probabilities as the CSV file that `awb study evaluate` reads."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from awb.study import LabelTable
from examples.chestxray14.data.dataset import XrayDataset
from examples.chestxray14.data.nih import SUBGROUPS
from examples.chestxray14.data.study import IMAGE, PATIENT
from examples.chestxray14.files.atomic import write_atomically


@torch.no_grad()
def predict_logits(
    accelerator: Accelerator, model: nn.Module, dataset: XrayDataset, batch_size: int, workers: int = 0
) -> Tensor:
    """Logits of all images, shared among the processes and then the same in each.

    Args:
        accelerator: Whose device, precision and processes are used.
        model: Not wrapped; it is left in eval mode.
        dataset: Not augmented.
        batch_size: Images a forward, in each process.
        workers: Of the loader.

    Returns:
        float32 (n, C) on the CPU, in the order of the data set.
    """
    from accelerate.utils import gather_object

    model.eval()
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    loader = DataLoader(
        Subset(dataset, mine), batch_size, num_workers=workers, generator=torch.Generator().manual_seed(0)
    )
    pieces: list[Tensor] = []
    show = None if accelerator.is_main_process else True
    with accelerator.autocast():
        for images, _, _ in tqdm(loader, desc="predicting", unit=" batches", leave=False, disable=show):
            pieces.append(model(images.to(accelerator.device)).float().cpu())
    own = torch.cat(pieces) if pieces else torch.zeros(0, len(dataset.table.classes))
    logits = torch.zeros(len(dataset), len(dataset.table.classes))
    for rows, values in gather_object([(list(mine), own.numpy())]):
        logits[rows] = torch.from_numpy(values)
    return logits


def write_predictions(path: Path, table: LabelTable, probs: npt.NDArray[np.float64]) -> None:
    """A column of image names and one a class."""
    rows = ([name, *map(repr, row)] for name, row in zip(table.images.tolist(), probs.tolist(), strict=True))
    _write(path, [IMAGE, *table.classes], rows)


def write_labels(path: Path, table: LabelTable) -> None:
    """The labels as `awb.study.read_labels` reads them, with patients and what subgroups are made of."""
    assert table.groups is not None
    others = {name: table.columns[name].tolist() for name in SUBGROUPS if name in table.columns}
    rows = (
        [image, patient, *(values[i] for values in others.values()), *("" if v != v else f"{v:g}" for v in labels)]
        for i, (image, patient, labels) in enumerate(
            zip(table.images.tolist(), table.groups.tolist(), table.labels.tolist(), strict=True)
        )
    )
    _write(path, [IMAGE, PATIENT, *others, *table.classes], rows)


def _write(path: Path, header: list[str], rows: object) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)  # type: ignore[arg-type]
    write_atomically(path, text.getvalue().encode())
