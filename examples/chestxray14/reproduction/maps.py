"""Maps across cells: Grad-CAM on the same test images, drawn and measured against boxes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from awb import Table
from awb.errors import shortlist
from examples.chestxray14.data.boxes import Boxes
from examples.chestxray14.data.study import Study
from examples.chestxray14.evaluation.evaluated_run import RunSummary
from examples.chestxray14.explanation.baselines import BASELINES
from examples.chestxray14.explanation.cases import Case, find_cases
from examples.chestxray14.explanation.localisation import measure_models
from examples.chestxray14.explanation.localisation_tables import by_method, compare_methods
from examples.chestxray14.explanation.maps import Inputs, MapMaker, map_makers
from examples.chestxray14.explanation.models import load_runs
from examples.chestxray14.explanation.pictures import beside, captions, overlays, save_picture, sheet
from examples.chestxray14.reproduction.factors import PLAIN, Factors, factors_of

COLUMNS = 8  # maps in one picture: two networks, three placements and none
ROWS = 14  # images in one picture, one per finding
_WIDTH = 1400  # pixels of a picture: rows stand side by side as long as there is room, wider pictures are reduced
_GAP = 12  # pixels between them


@dataclass(frozen=True)
class Maps:
    """Maps of a group of cells.

    Attributes:
        heading: The first of the cells.
        title: The cells, in words.
        picture: File of the picture.
        tables: Localisation per cell beside the baselines, and differences from the first cell, by title; none
            without boxes of two patients.
    """

    heading: str
    title: str
    picture: Path
    tables: Mapping[str, Table]


def make_maps(
    folder: Path,
    runs: Mapping[str, RunSummary],
    study: Study,
    split: str,
    boxes: Boxes | None,
    n_replicates: int = 2000,
) -> Iterator[Maps]:
    """Draw and measure the maps of each group of cells that differ only in network and placement.

    Args:
        folder: Folder of the pictures.
        runs: Evaluated runs by cell; those on other splits are left out.
        study: Study on the split.
        split: Name of the split in the report.
        boxes: Boxes around findings, if there are any.
        n_replicates: Bootstrap replicates.

    Raises:
        AWBError: The image store is damaged.
    """
    study.store.verify()  # it was last verified before the training, perhaps days ago
    for title, names in group_cells(
        {n: r for n, r in runs.items() if r.split.checksum == study.split.checksum}
    ).items():
        shown = names[:COLUMNS]
        loaded = load_runs({name: runs[name].folder.path for name in shown})
        inputs = Inputs(study.store, loaded.transform, loaded.classes)
        makers = map_makers(loaded.models, inputs)
        boxed = _boxed(study, loaded.held_out, boxes, inputs)
        tables: dict[str, Table] = {}
        if len({case.patient for case in boxed}) > 1:
            results = measure_models(makers, inputs, boxed)
            n_boxes, n_patients = sum(len(case.boxes) for case in boxed), len({case.patient for case in boxed})
            at = f"{n_boxes:,} boxes of {n_patients:,} test patients, split {split}"
            measured = by_method(results, n_replicates=n_replicates)
            tables[f"How well the maps lie in boxes, {title}: {at}"] = measured.with_notes(*against_baselines(measured))
            tables[f"Differences from {shown[0]}, {title}, split {split}"] = compare_methods(
                results, shown[0], n_replicates=n_replicates
            )
        picture = folder / f"maps-{re.sub(r'[^a-z0-9.]+', '-', f'{title} {split}'.lower())}.jpg"
        _draw(picture, makers, inputs, _one_per_finding(study, loaded.held_out, boxed))
        left_out = f"; left out for want of room: {', '.join(names[COLUMNS:])}" if names[COLUMNS:] else ""
        yield Maps(
            f"{shortlist(names, 3)}, split {split}",
            f"Grad-CAM of the same images, split {split}, {title}: {', '.join(shown)}{left_out}",
            picture,
            tables,
        )


def group_cells(runs: Mapping[str, RunSummary]) -> dict[str, list[str]]:
    """Groups of two or more cells that differ only in network and placement; cells without blocks come first.

    Returns:
        Names of the cells by title, which names the kind of block and the losses.
    """
    factors = {name: factors_of(run.recipe) for name, run in runs.items()}
    groups: dict[tuple[str, str, Factors], list[str]] = {}
    for kind, init in dict.fromkeys((one.attention, one.init) for one in factors.values() if one.attention != PLAIN):
        for name in sorted(runs, key=lambda name: factors[name].attention != PLAIN):
            one = factors[name]
            if (one.attention, one.init) in ((PLAIN, PLAIN), (kind, init)):
                others = dataclasses.replace(one, network="", placement="", attention="", init="")
                groups.setdefault((kind, init, others), []).append(name)
    found: dict[str, list[str]] = {}
    for (kind, init, others), names in groups.items():
        if len(names) > 1:
            title = f"{kind}, {init}, {others.losses}"
            again = sum(one.partition(" #")[0] == title for one in found)  # with other settings
            found[f"{title} #{again + 1}" if again else title] = names
    return found


def against_baselines(measured: Table) -> Iterator[str]:
    """Notes on the number of cells whose maps beat each baseline in pointing, from a table of `by_method`."""
    pointing = {row["maps"]: row["pointing"] for row in measured}
    cells = [name for name in pointing if name not in BASELINES]
    for baseline in BASELINES:
        above = [name for name in cells if pointing[name] > pointing[baseline]]
        yield f"pointing above that of {baseline}: {len(above)} of {len(cells)} cells"
    yield "a map that is not above a baseline, which does not look at the image, has not shown that it does"


def _boxed(study: Study, held_out: frozenset[str], boxes: Boxes | None, inputs: Inputs) -> Sequence[Case]:
    if boxes is None:
        return ()
    test = study.test.take([name in held_out for name in study.test.images.tolist()])
    on_test = inputs.boxes(boxes).of(test.images.tolist())
    return find_cases(on_test, test) if on_test else ()


def _one_per_finding(study: Study, held_out: frozenset[str], boxed: Sequence[Case]) -> list[Case]:
    """The first image of each finding in the order of the test set, preferably one with a box."""
    first = {case.finding: case for case in reversed(boxed)}
    test = study.test
    for finding, labels in zip(test.classes, test.labels.T, strict=True):
        positives = [name for name in test.images[labels == 1].tolist() if name in held_out]
        if finding not in first and positives:
            first[finding] = Case(positives[0], finding, "", ())
    return [first[name] for name in test.classes if name in first][:ROWS]


def _draw(path: Path, makers: Sequence[MapMaker], inputs: Inputs, cases: Sequence[Case]) -> None:
    pictures = overlays(makers, inputs, cases)
    rows = [(case.finding, row) for case, row in zip(cases, pictures, strict=True)]
    strip = sum(picture.width for picture in rows[0][1])
    n_blocks = max(1, min((_WIDTH + _GAP) // (strip + _GAP), len(rows)))
    height = -(-len(rows) // n_blocks)
    blocks = [sheet(rows[start : start + height], captions(makers)) for start in range(0, len(rows), height)]
    page = beside(blocks, _GAP)
    page.thumbnail((_WIDTH, 4 * _WIDTH))
    save_picture(page, path)
