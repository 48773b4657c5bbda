"""Pictures of the report: curves of each cell, and labels and boxes of the data."""

from __future__ import annotations

from pathlib import Path

from examples.chestxray14.data.boxes import Boxes
from examples.chestxray14.data.study import Study
from examples.chestxray14.evaluation.class_figures import CURVES
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun
from examples.chestxray14.evaluation.figures import (
    co_occurrence,
    label_frequencies,
    save,
)
from examples.chestxray14.explanation.pictures import example_boxes, save_picture


def draw_curves(folder: Path, cell: str, run: EvaluatedRun) -> dict[str, Path]:
    """Draw ROC and reliability curves of a cell's test set. Returns their files by caption."""
    title = f"{'SYNTHETIC phantoms: ' if run.synthetic else ''}{cell}, split {run.split.name}"
    drawn = {}
    for caption, (draw, word) in CURVES[run.task].items():
        drawn[f"{caption} of {cell}"] = path = folder / f"{word}-{cell}.png"
        save(draw(run.test.labels, run.probs, run.test.classes, title), path)
    return drawn


def draw_data(folder: Path, study: Study, boxes: Boxes | None) -> dict[str, Path]:
    """Draw frequencies and co-occurrence of the labels, and example boxes. Returns their files by caption."""
    kind = "SYNTHETIC phantoms: " if study.synthetic else ""
    drawn = {}
    kinds = {"Label frequencies": (label_frequencies, "frequencies"), "Co-occurrence": (co_occurrence, "co-occurrence")}
    for caption, (draw, word) in kinds.items():
        drawn[caption] = path = folder / f"labels-{word}.png"
        save(draw(study.table, f"{kind}{caption.lower()}, {len(study.table):,} images"), path)
    if boxes is not None and len(boxes.of(study.store.names)):
        drawn["Example boxes"] = path = folder / "boxes.png"
        save_picture(example_boxes(study.store, boxes, f"{kind}boxes around findings"), path)
    return drawn
