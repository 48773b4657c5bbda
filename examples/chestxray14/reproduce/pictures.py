"""The report's pictures: curves of each cell, labels and boxes of the data, maps of the same images across cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image

from examples.chestxray14.boxes import Boxes
from examples.chestxray14.evaluated_run import EvaluatedRun
from examples.chestxray14.example_boxes import example_boxes
from examples.chestxray14.explain import Inputs
from examples.chestxray14.explain_models import load_runs
from examples.chestxray14.explain_study import map_makers, overlays
from examples.chestxray14.figures import co_occurrence, label_frequencies, reliability_curves, roc_curves, save
from examples.chestxray14.localisation import Case, find_cases
from examples.chestxray14.overlay import sheet
from examples.chestxray14.reproduce.factors import PLAIN, factors_of
from examples.chestxray14.study_data import Study

COLUMNS = 8  # of maps in one picture
CASES = 8  # images in it


def draw_curves(folder: Path, cell: str, run: EvaluatedRun) -> dict[str, Path]:
    """ROC and reliability of a cell's test set, by their captions."""
    title = f"{'SYNTHETIC phantoms: ' if run.synthetic else ''}{cell}, split {run.split.name}"
    kinds = {"ROC curves": (roc_curves, "roc"), "Reliability curves": (reliability_curves, "reliability")}
    drawn = {}
    for caption, (draw, word) in kinds.items():
        drawn[f"{caption} of {cell}"] = path = folder / f"{word}-{cell}.png"
        save(draw(run.test.labels, run.probs, run.test.classes, title), path)
    return drawn


def draw_data(folder: Path, study: Study, boxes: Boxes | None) -> dict[str, Path]:
    """Frequencies and co-occurrence of the labels, and boxes, by their captions."""
    kind = "SYNTHETIC phantoms: " if study.synthetic else ""
    drawn = {}
    kinds = {"Label frequencies": (label_frequencies, "frequencies"), "Co-occurrence": (co_occurrence, "co-occurrence")}
    for caption, (draw, word) in kinds.items():
        drawn[caption] = path = folder / f"labels-{word}.png"
        save(draw(study.table, f"{kind}{caption.lower()}, {len(study.table):,} images"), path)
    if boxes is not None and len(boxes.of(study.store.names)):
        drawn["Example boxes"] = path = folder / "boxes.png"
        example_boxes(study.store, boxes, f"{kind}boxes around findings").save(path)
    return drawn


def draw_maps(
    folder: Path, runs: Mapping[str, EvaluatedRun], study: Study, boxes: Boxes | None
) -> Iterator[tuple[str, Path]]:
    """Grad-CAM of the same test images in cells that differ in network and placement, a picture a kind and schedule."""
    factors = {name: factors_of(run.recipe) for name, run in runs.items()}
    groups: dict[tuple[str, str, str], dict[str, EvaluatedRun]] = {}
    for kind in dict.fromkeys(one.attention for one in factors.values() if one.attention != PLAIN):
        for name, run in runs.items():
            one, data = factors[name], run.recipe.data
            if one.attention in (PLAIN, kind) and one.init in (PLAIN, "identity"):
                inputs = str(data.transform(training=False))
                groups.setdefault((kind, one.losses, inputs), {})[name] = run
    for (kind, losses, _), group in groups.items():
        on_it = {name: run for name, run in group.items() if run.split.checksum == study.split.checksum}
        chosen = dict(list(on_it.items())[:COLUMNS])
        if len(chosen) > 1:
            path = folder / f"maps-{kind}-{losses.replace(' → ', '_')}-{study.split.name}.png"
            _maps(chosen, study, boxes).save(path)
            yield f"Grad-CAM of the same images, {kind}, {losses}: {', '.join(chosen)}", path


def _maps(runs: Mapping[str, EvaluatedRun], study: Study, boxes: Boxes | None) -> Image.Image:
    loaded = load_runs({name: run.folder.path for name, run in runs.items()})
    inputs = Inputs(study.store, loaded.transform, loaded.classes)
    makers = map_makers(loaded.models, inputs)
    cases = _cases(study, loaded.held_out, boxes, loaded.transform.size)
    pictures = overlays(makers, inputs, cases, max(1, 224 // loaded.transform.size))
    rows = [(case.finding, row) for case, row in zip(cases, pictures, strict=True)]
    return sheet(rows, ["image", *(one.name for one in makers)])


def _cases(study: Study, held_out: frozenset[str], boxes: Boxes | None, size: int) -> list[Case]:
    """One case a finding, the first in the test set's order; boxed ones where there are boxes."""
    rows = [row for row, name in enumerate(study.test.images.tolist()) if name in held_out]
    test = study.test.take(rows)
    on_test = None if boxes is None else boxes.scaled_to(size).of(test.images.tolist())
    cases = find_cases(on_test, test) if on_test else ()
    first = {case.finding: case for case in reversed(cases)}
    for column, finding in enumerate(test.classes):
        positives = test.images[test.labels[:, column] == 1].tolist()
        if finding not in first and positives:
            first[finding] = Case(positives[0], finding, "", ())
    return [first[name] for name in test.classes if name in first][:CASES]
