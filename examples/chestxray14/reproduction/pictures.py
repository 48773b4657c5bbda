"""Pictures of the report: curves of each cell, and labels and boxes of the data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from awb.study import LabelTable
from examples.chestxray14.data.boxes import Boxes
from examples.chestxray14.data.study import Study
from examples.chestxray14.evaluation.class_figures import CURVES
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun
from examples.chestxray14.evaluation.figures import (
    co_occurrence,
    label_frequencies,
    save,
)
from examples.chestxray14.evaluation.learning_curves import learning_curves, read_logs
from examples.chestxray14.explanation.pictures import example_boxes, save_picture


def draw_curves(folder: Path, cell: str, run: EvaluatedRun) -> dict[str, Path]:
    """Draw a cell's learning curves, and the curves of its test set. Returns their files by caption."""
    title = f"{'SYNTHETIC phantoms: ' if run.synthetic else ''}{cell}, split {run.split.name}"
    learnt = folder / f"learning-{cell}.png"
    save(learning_curves(read_logs(run.folder, run.recipe), title), learnt)
    drawn = {f"Learning curves of {cell}": learnt}
    for caption, (draw, word) in CURVES[run.task].items():
        drawn[f"{caption} of {cell}"] = path = folder / f"{word}-{cell}.png"
        save(draw(run.test.labels, run.probs, run.test.classes, title), path)
    return drawn


def draw_data(folder: Path, study: Study, boxes: Boxes | None, *, exclusive: bool = False) -> dict[str, Path]:
    """Draw frequencies and co-occurrence of the labels, and example boxes. Returns their files by caption.

    Args:
        folder: Folder to write into.
        study: Labels and images.
        boxes: Boxes around findings, if there are any.
        exclusive: True for ordinary classes, which do not occur together.
    """
    kind = "SYNTHETIC phantoms: " if study.synthetic else ""
    drawn = {}
    kinds: dict[str, tuple[Callable[[LabelTable, str], Figure], str]] = {
        "Label frequencies": (partial(label_frequencies, exclusive=exclusive), "frequencies")
    }
    if not exclusive:
        kinds["Co-occurrence"] = (co_occurrence, "co-occurrence")
    for caption, (draw, word) in kinds.items():
        drawn[caption] = path = folder / f"labels-{word}.png"
        save(draw(study.table, f"{kind}{caption.lower()}, {len(study.table):,} images"), path)
    if boxes is not None and len(boxes.of(study.store.names)):
        drawn["Example boxes"] = path = folder / "boxes.jpg"
        save_picture(example_boxes(study.store, boxes, f"{kind}boxes around findings"), path)
    return drawn
