"""Report of all cells, as report.md and report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from awb import AWBError, Table
from awb.errors import shortlist
from examples.chestxray14.data.boxes import Boxes, read_boxes
from examples.chestxray14.data.labels import SUBGROUPS
from examples.chestxray14.data.origin import Origin
from examples.chestxray14.data.study import Study, StudySource
from examples.chestxray14.evaluation.evaluated_run import RunSummary, read_summary
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.reproduction import sections
from examples.chestxray14.reproduction.cell_results import CellResults, cell_results
from examples.chestxray14.reproduction.contrasts import contrasts
from examples.chestxray14.reproduction.output import Output, State
from examples.chestxray14.reproduction.page import to_html
from examples.chestxray14.reproduction.progress import SILENT, Progress
from examples.chestxray14.reproduction.tables import results_table
from examples.chestxray14.runs.folder import identity


class Report(NamedTuple):
    """A report that was written.

    Attributes:
        page: Path of report.html.
        cells: Table of the cells' results.
        states: State of every cell that was asked for.
    """

    page: Path
    cells: Table
    states: Mapping[str, State]


class Material(NamedTuple):
    """Runs and data that a report is made from.

    Attributes:
        runs: Evaluated runs of the cells that are done, by cell.
        studies: Studies on their splits, by the split's checksum.
        states: State of every cell that was asked for, with a reason or an empty text.
    """

    runs: dict[str, RunSummary]
    studies: dict[str, Study]
    states: dict[str, tuple[State, str]]

    @property
    def origin(self) -> Origin:
        """Data source of the images, which is the same for all runs."""
        return next(iter(self.studies.values())).origin


def write_report(
    output: Output,
    cells: Mapping[str, Recipe],
    source: StudySource,
    n_replicates: int = 2000,
    progress: Progress = SILENT,
) -> Report:
    """Write the report of the finished cells, and name the others.

    Args:
        output: Output folder.
        cells: Recipes by name.
        source: Labels and images that the studies are read from.
        n_replicates: Bootstrap replicates.
        progress: Told of what is done.

    Raises:
        AWBError: No cell is done. An earlier report stays as it was.
    """
    material = read_material(output, cells, source, progress)
    figures = output.path / "figures"
    figures.mkdir(exist_ok=True, parents=True)
    found = _measured(material, figures, n_replicates, progress)
    runs = material.runs
    results = {name: one.result for name, one in found.items() if one.result is not None}
    progress.begin("contrasts and costs")
    compared = contrasts(runs, results)
    table = results_table(runs, results, n_replicates)
    boxes = find_boxes(source.folder, next(iter(runs.values())).test.classes)
    parts = [
        *sections.head(material.origin),
        *sections.leak(runs),
        *sections.missing(output, material.states),
        *sections.in_short(compared, runs),
        "## Results", table,
        *sections.recipes(runs),
        *sections.comparisons(runs, compared),
        *sections.costs(runs, material.origin),
        *sections.data(output, material.studies, runs, boxes),
        *sections.maps(output, material.studies, runs, boxes, n_replicates, progress),
        *sections.each_cell(output, runs, found),
        *sections.made(runs),
    ]  # fmt: skip
    progress.begin("the page")
    text = "\n\n".join(part.to_markdown() if isinstance(part, Table) else part for part in parts) + "\n"
    write_atomically(output.path / "report.md", text.encode(), shared=True)
    page = output.path / "report.html"
    write_atomically(page, to_html(text, output.path).encode(), shared=True)
    return Report(page, table, {name: state for name, (state, _) in material.states.items()})


def _measured(material: Material, figures: Path, n_replicates: int, progress: Progress) -> dict[str, CellResults]:
    """Results of the material's runs; runs whose predictions cannot be read become unreadable ones."""
    _require_any(material)
    found = cell_results(material.runs, figures, n_replicates, progress)
    for name, one in found.items():
        if one.result is None:
            del material.runs[name]
            material.states[name] = ("unreadable", one.why)
    _require_any(material)
    return found


def _require_any(material: Material) -> None:
    if not material.runs:
        reasons = [f"{name} {state}{f' ({why})' if why else ''}" for name, (state, why) in material.states.items()]
        raise AWBError(
            f"none of {len(material.states)} cells is done, so no report is written: {shortlist(reasons, 6)}"
        )


def read_material(
    output: Output, cells: Mapping[str, Recipe], source: StudySource, progress: Progress = SILENT
) -> Material:
    """Read the finished cells without their predictions.

    Those that cannot be read, or were made from other data, are listed as unreadable.
    """
    material = Material({}, {}, {})
    for cell, recipe in progress.steps(cells.items(), len(cells), "reading cells"):
        state, why = output.state(cell, recipe)
        if state == "done":
            try:
                run, study = read_summary(output.run(cell).path), source.study(recipe)
                run.folder.require(identity(recipe, study))
                _require_same_subgroups(run, study)
            except AWBError as error:
                state, why = "unreadable", str(error)
            else:
                material.runs[cell] = run
                material.studies[study.split.checksum] = study
        material.states[cell] = (state, why)
    return material


def _require_same_subgroups(run: RunSummary, study: Study) -> None:
    """Refuse results by view, sex or age if these columns were corrected since; training does not depend on them."""
    changed = [
        name
        for name in SUBGROUPS
        if not np.array_equal(run.test.columns.get(name, ()), study.test.columns.get(name, ()))
    ]
    if changed:
        raise AWBError(
            f"{run.folder.path}: {', '.join(changed)} changed in the labels since the evaluation; "
            f"run `evaluate {run.folder.path} …`"
        )


def find_boxes(folder: Path, classes: Sequence[str]) -> Boxes | None:
    """Read NIH's box list beside its labels, of the findings that the labels have; None if there are none.

    A table of one's own may have some of NIH's findings only, or others.
    """
    found = sorted(folder.glob("BBox_List_2017.csv*"))
    boxes = read_boxes(found[0]).of_findings(classes) if found else None
    return boxes or None
