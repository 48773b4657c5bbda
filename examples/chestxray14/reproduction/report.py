"""Report of all cells, as report.md and report.html."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from awb import AWBError, Table
from awb.errors import shortlist
from awb.markup import in_html, in_markdown
from examples.chestxray14.data.boxes import Boxes, read_boxes
from examples.chestxray14.data.labels import SUBGROUPS
from examples.chestxray14.data.origin import Origin
from examples.chestxray14.data.study import Study, StudySource
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun, read_evaluated
from examples.chestxray14.evaluation.model_card import LABEL_NOISE
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.reproduction.contrasts import contrasts
from examples.chestxray14.reproduction.costs import cost_table
from examples.chestxray14.reproduction.factors import split_names
from examples.chestxray14.reproduction.maps import make_maps
from examples.chestxray14.reproduction.output import Output, State
from examples.chestxray14.reproduction.page import to_html, without_links
from examples.chestxray14.reproduction.pictures import draw_curves, draw_data
from examples.chestxray14.reproduction.tables import cells_table, split_tables, time_table
from examples.chestxray14.runs.folder import identity

_PACKAGES = ("awb", "torch", "torchvision", "timm", "scikit-learn", "captum")
_TITLES: Mapping[Origin, str] = {
    "phantoms": "Chest X-rays: cells of the study on SYNTHETIC phantoms",
    "NIH": "Chest X-rays: the study, reproduced",
    "own": "Chest X-rays: cells of the study on a table of one's own",
}


class Report(NamedTuple):
    """A report that was written.

    Attributes:
        page: Path of report.html.
        cells: Table of the cells.
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

    runs: dict[str, EvaluatedRun]
    studies: dict[str, Study]
    states: dict[str, tuple[State, str]]


def write_report(output: Output, cells: Mapping[str, Recipe], source: StudySource, n_replicates: int = 2000) -> Report:
    """Write the report of the finished cells, and name the others.

    Args:
        output: Output folder.
        cells: Recipes by name.
        source: Labels and images that the studies are read from.
        n_replicates: Bootstrap replicates.

    Raises:
        AWBError: No cell is done. An earlier report stays as it was.
    """
    material = read_material(output, cells, source)
    runs, states = material.runs, material.states
    if not runs:
        reasons = [f"{name} {state}{f' ({why})' if why else ''}" for name, (state, why) in states.items()]
        raise AWBError(f"none of {len(cells)} cells is done, so no report is written: {shortlist(reasons, 6)}")
    table = cells_table(runs, n_replicates)
    (output.path / "figures").mkdir(exist_ok=True)
    parts = [
        *_head(output, material),
        "## Cells", table,
        *_leak(runs),
        *_comparisons(runs, n_replicates),
        *_data_and_maps(output, material, find_boxes(source.folder), n_replicates),
        "## Each cell",
        *(part for name, run in runs.items() for part in _cell(output, name, run)),
    ]  # fmt: skip
    text = "\n\n".join(part.to_markdown() if isinstance(part, Table) else part for part in parts) + "\n"
    write_atomically(output.path / "report.md", text.encode(), shared=True)
    page = output.path / "report.html"
    write_atomically(page, to_html(text).encode(), shared=True)
    return Report(page, table, {name: state for name, (state, _) in states.items()})


def read_material(output: Output, cells: Mapping[str, Recipe], source: StudySource) -> Material:
    """Read the finished cells; those that cannot be read, or were made from other data, are listed as unreadable."""
    material = Material({}, {}, {})
    for cell, recipe in cells.items():
        state, why = output.state(cell, recipe)
        if state == "done":
            try:
                run, study = read_evaluated(output.run(cell).path), source.study(recipe)
                run.folder.require(identity(recipe, study))
                _require_same_subgroups(run, study)
            except AWBError as error:
                state, why = "unreadable", str(error)
            else:
                material.runs[cell] = run
                material.studies[study.split.checksum] = study
        material.states[cell] = (state, why)
    return material


def _require_same_subgroups(run: EvaluatedRun, study: Study) -> None:
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


def find_boxes(folder: Path) -> Boxes | None:
    """Read NIH's box list beside its labels, or None if there is no such file."""
    found = sorted(folder.glob("BBox_List_2017.csv*"))
    return read_boxes(found[0]) if found else None


def _head(output: Output, material: Material) -> Iterable[str | Table]:
    study, runs, states = next(iter(material.studies.values())), material.runs, material.states
    yield f"# {_TITLES[study.origin]}"
    if study.synthetic:
        yield (
            '<p class="warning">The images were drawn by a program, of no patient. <b>No figure on this page has a '
            "medical meaning</b>, and none says how a block does on X-rays.</p>"
        )
    yield f"Not a medical device. Label noise: {LABEL_NOISE[study.origin]}"
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    devices = in_markdown(", ".join(dict.fromkeys(str(run.info["device"]) for run in runs.values())))
    yield (
        f"Written {datetime.date.today()} on {os.cpu_count()} {platform.machine()} cores; trained on {devices}; "
        f"Python {platform.python_version()}, {versions}."
    )
    missing = {name: state for name, state in states.items() if state[0] != "done"}
    if missing:
        rows = tuple((name, *state) for name, state in missing.items())
        yield f"**{len(missing)} of {len(states)} cells are not in this report:**"
        yield Table(("cell", "state", "why"), rows)
    others = sorted(path.name for path in (output.path / "runs").iterdir() if path.name not in states)
    if others:
        yield f"**{len(others)} other cells of this folder were not asked for: {in_markdown(shortlist(others))}.**"


def _leak(runs: Mapping[str, EvaluatedRun]) -> Iterable[str]:
    leaking = in_html(", ".join(name for name, run in runs.items() if run.leak.any))
    if leaking:
        yield (
            f'<p class="warning"><b>{leaking}: trained on part of its own test set, or on other images of '
            "its patients</b> (columns “images seen” and “of seen patients”), as the 2025 report's first stage did. "
            "Its AUROC is too high, and it is compared only with cells that have seen the same.</p>"
        )


def _comparisons(runs: Mapping[str, EvaluatedRun], n_replicates: int) -> Iterable[str | Table]:
    yield "## Contrasts"
    yield (
        "The cells of a pair differ in what the question asks about, and in nothing else: blocks are placement, kind "
        "and start together, a schedule is everything that the recipe says about its stages (losses, images, epochs, "
        "frozen parts, optimisers). Test patients are the same. A difference whose interval contains 0 has not been "
        "shown by this study. `compare` prints a pair's differences per finding."
    )
    yield from _titled(contrasts(runs, n_replicates))
    yield "## Parameters and multiply–accumulates"
    yield cost_table(run.recipe for run in runs.values())
    yield "## Time"
    yield time_table(runs)


def _data_and_maps(output: Output, material: Material, boxes: Boxes | None, n_replicates: int) -> Iterable[str | Table]:
    runs, studies, figures = material.runs, material.studies, output.path / "figures"
    splits = split_names(runs)
    yield "## Data"
    yield from _pictures(output, draw_data(figures, next(iter(studies.values())), boxes))
    for key, study in studies.items():
        yield from _titled(split_tables(study, splits[key]))
    yield "## Where the networks look"
    for key, study in studies.items():
        for maps in make_maps(figures, runs, study, splits[key], boxes, n_replicates):
            yield from _pictures(output, {maps.title: maps.picture})
            yield from _titled(maps.tables)
    yield "Green: the box around the finding, where there is one."


def _cell(output: Output, name: str, run: EvaluatedRun) -> Iterable[str]:
    yield f'<details markdown="1"><summary>{in_html(name)}</summary>'
    evaluation = (output.run(name).evaluation / "evaluation.md").read_text(encoding="utf-8")
    yield without_links(evaluation.strip().replace("\n## ", "\n#### "))
    yield from _pictures(output, draw_curves(output.path / "figures", name, run))
    yield f"[Model card](runs/{name}/MODEL_CARD.md), [recipe](runs/{name}/recipe.yaml)"
    yield "</details>"


def _pictures(output: Output, drawn: Mapping[str, Path]) -> Iterable[str]:
    for caption, path in drawn.items():
        where, caption = path.relative_to(output.path).as_posix(), in_markdown(caption)
        yield f"![{caption}]({where})\n\n*{caption}*"


def _titled(tables: Mapping[str, Table]) -> Iterable[str | Table]:
    for title, table in tables.items():
        yield f"### {in_markdown(title)}"
        yield table
