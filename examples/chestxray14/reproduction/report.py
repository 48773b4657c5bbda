"""One report of all cells, as report.md and report.html."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from awb.errors import AWBError, shortlist
from awb.markup import in_html, in_markdown
from awb.table import Table
from examples.chestxray14.data.boxes import Boxes, read_boxes
from examples.chestxray14.data.nih import SUBGROUPS
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
from examples.chestxray14.reproduction.pictures import draw_curves, draw_data
from examples.chestxray14.reproduction.tables import cells_table, split_tables, time_table
from examples.chestxray14.runs.folder import identity

_PACKAGES = ("awb", "torch", "torchvision", "timm", "scikit-learn", "captum")
_TITLES: Mapping[Origin, str] = {
    "phantoms": "Chest X-rays: cells of the study on SYNTHETIC phantoms",
    "NIH": "Chest X-rays: the study, reproduced",
    "own": "Chest X-rays: cells of the study on a table of one's own",
}
_STYLE = """body { font: 15px/1.5 system-ui, sans-serif; max-width: 1400px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: 13px; margin: 1em 0 }
td, th { border: 1px solid #ccc; padding: 3px 8px; white-space: nowrap }
th { background: #f3f3f3; white-space: normal } img { max-width: 100% }
h2 { margin-top: 2em } summary { cursor: pointer }
details { margin: .5em 0 } .warning { background: #fff3cd; border: 1px solid #e0c36a; padding: .5em 1em }"""


class Report(NamedTuple):
    """What was written.

    Attributes:
        page: report.html.
        cells: The table of the cells.
        states: Of all cells that were asked for.
    """

    page: Path
    cells: Table
    states: Mapping[str, State]


class Material(NamedTuple):
    """What a report is made of.

    Attributes:
        runs: By cell, those that are done.
        studies: Of their splits, by checksum.
        states: Of all cells that were asked for, and what there is to say of them.
    """

    runs: dict[str, EvaluatedRun]
    studies: dict[str, Study]
    states: dict[str, tuple[State, str]]


def write_report(output: Output, cells: Mapping[str, Recipe], source: StudySource, n_replicates: int = 2000) -> Report:
    """Write the report of the cells that are done, and name the others.

    Args:
        output: The shared folder.
        cells: Recipes by name.
        source: Of the studies.
        n_replicates: Of the bootstraps.

    Raises:
        AWBError: No cell is done. A report that is there is left as it was.
    """
    runs, studies, states = read_material(output, cells, source)
    if not runs:
        reasons = [f"{name} {state}{f' ({why})' if why else ''}" for name, (state, why) in states.items()]
        raise AWBError(f"none of {len(cells)} cells is done, so no report is written: {shortlist(reasons, 6)}")
    boxes = find_boxes(source.folder)
    figures = output.path / "figures"
    figures.mkdir(exist_ok=True)
    first, table, splits = next(iter(studies.values())), cells_table(runs, n_replicates), split_names(runs)
    parts = [
        *_head(output, first, runs, states),
        "## Cells", table,
        *_leak(runs),
        "## Contrasts",
        "The cells of a pair differ in what its question asks of, and in nothing else: blocks are placement, kind and "
        "start together, a schedule is all that the recipe says of its stages (losses, images, epochs, frozen parts, "
        "optimisers). Test patients are the same. A difference whose interval holds 0 is none that this study has "
        "shown. `compare` prints the findings of a pair.",
        *_titled(contrasts(runs, n_replicates)),
        "## Parameters and multiply–accumulates", cost_table(run.recipe for run in runs.values()),
        "## Time", time_table(runs),
        "## Data", *_pictures(output, draw_data(figures, first, boxes)),
        *(part for key, study in studies.items() for part in _titled(split_tables(study, splits[key]))),
        "## Where the networks look",
        *(
            part
            for key, study in studies.items()
            for maps in make_maps(figures, runs, study, splits[key], boxes, n_replicates)
            for part in (*_pictures(output, {maps.title: maps.picture}), *_titled(maps.tables))
        ),
        "Green: the box around the finding, where there is one.",
        "## Each cell",
        *(part for name, run in runs.items() for part in _cell(output, figures, name, run)),
    ]  # fmt: skip
    text = "\n\n".join(part.to_markdown() if isinstance(part, Table) else part for part in parts) + "\n"
    write_atomically(output.path / "report.md", text.encode(), shared=True)
    page = output.path / "report.html"
    write_atomically(page, to_html(text).encode(), shared=True)
    return Report(page, table, {name: state for name, (state, _) in states.items()})


def read_material(output: Output, cells: Mapping[str, Recipe], source: StudySource) -> Material:
    """Read the cells that are done; one that cannot be read, or is of other data, is said to be so."""
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
    """Refuse figures by a view, sex or age that was corrected since; a training does not depend on them."""
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


def to_html(text: str) -> str:
    """A page of its own of Markdown."""
    from markdown import markdown

    body = markdown(text, extensions=["tables", "md_in_html", "sane_lists"])
    title = in_html(text.splitlines()[0].lstrip("# "))
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def find_boxes(folder: Path) -> Boxes | None:
    """NIH's box list beside its labels, if it is there."""
    found = sorted(folder.glob("BBox_List_2017.csv*"))
    return read_boxes(found[0]) if found else None


def _head(
    output: Output, study: Study, runs: Mapping[str, EvaluatedRun], states: Mapping[str, tuple[State, str]]
) -> Iterable[str | Table]:
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


def _cell(output: Output, figures: Path, name: str, run: EvaluatedRun) -> Iterable[str]:
    yield f'<details markdown="1"><summary>{in_html(name)}</summary>'
    evaluation = (output.run(name).evaluation / "evaluation.md").read_text(encoding="utf-8")
    yield _without_links(evaluation.strip().replace("\n## ", "\n#### "))
    yield from _pictures(output, draw_curves(figures, name, run))
    yield f"[Model card](runs/{name}/MODEL_CARD.md), [recipe](runs/{name}/recipe.yaml)"
    yield "</details>"


def _without_links(evaluation: str) -> str:
    """Tables in which no link or tag is meant; earlier versions wrote names into them as they were."""
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", evaluation)
    return re.sub(r"(?<!\\)((?:\\\\)*)\[", r"\1\\[", text)


def _pictures(output: Output, drawn: Mapping[str, Path]) -> Iterable[str]:
    for caption, path in drawn.items():
        where, caption = path.relative_to(output.path).as_posix(), in_markdown(caption)
        yield f"![{caption}]({where})\n\n*{caption}*"


def _titled(tables: Mapping[str, Table]) -> Iterable[str | Table]:
    for title, table in tables.items():
        yield f"### {in_markdown(title)}"
        yield table
