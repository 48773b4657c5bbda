"""One report of all cells, as report.md and report.html; whoever writes it, from the same folder it is the same."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from awb.errors import AWBError
from awb.table import Table
from examples.chestxray14.atomic import write_atomically
from examples.chestxray14.boxes import Boxes, read_boxes
from examples.chestxray14.checkpoint import require_same_run
from examples.chestxray14.evaluated_run import EvaluatedRun, read_evaluated
from examples.chestxray14.recipe import Recipe
from examples.chestxray14.reproduce.contrasts import contrasts
from examples.chestxray14.reproduce.costs import cost_table
from examples.chestxray14.reproduce.maps import make_maps
from examples.chestxray14.reproduce.pictures import draw_curves, draw_data
from examples.chestxray14.reproduce.tables import cells_table, split_tables, time_table
from examples.chestxray14.reproduce.work import Output
from examples.chestxray14.run_folder import identity
from examples.chestxray14.study_data import Study, StudySource

_PACKAGES = ("awb", "torch", "torchvision", "timm", "scikit-learn", "captum")
_STYLE = """body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: 13px; margin: 1em 0 }
td, th { border: 1px solid #ccc; padding: 3px 8px; white-space: nowrap }
th { background: #f3f3f3 } img { max-width: 100% } h2 { margin-top: 2em } summary { cursor: pointer }
details { margin: .5em 0 } .warning { background: #fff3cd; border: 1px solid #e0c36a; padding: .5em 1em }"""


class Report(NamedTuple):
    """What was written.

    Attributes:
        page: report.html.
        cells: The table of the cells.
    """

    page: Path
    cells: Table


def write_report(output: Output, cells: Mapping[str, Recipe], source: StudySource, n_replicates: int = 2000) -> Report:
    """Write the report of the cells that are done, and name the others.

    Args:
        output: The shared folder.
        cells: Recipes by name.
        source: Of the studies.
        n_replicates: Of the bootstraps.

    Raises:
        AWBError: No cell is done, or one was trained on other data.
    """
    states = {cell: output.state(cell, recipe) for cell, recipe in cells.items()}
    runs = {cell: read_evaluated(output.run(cell).path) for cell, (state, _) in states.items() if state == "done"}
    if not runs:
        raise AWBError(f"none of {len(cells)} cells is done, so there is no report: {_reasons(states)}")
    studies = _studies(runs, source)
    boxes = find_boxes(source.folder)
    figures = output.path / "figures"
    figures.mkdir(exist_ok=True)
    first, table = next(iter(studies.values())), cells_table(runs, n_replicates)
    parts = [
        *_head(runs, states),
        "## Cells", table,
        *_leak(runs),
        "## Contrasts",
        "Pairs of cells that differ in one thing only, on the same test patients. A difference whose interval holds 0 "
        "is none that this study has shown.",
        *_titled(contrasts(runs, n_replicates)),
        "## Parameters and multiply–accumulates", cost_table(run.recipe for run in runs.values()),
        "## Time", time_table(runs),
        "## Data", *_pictures(output, draw_data(figures, first, boxes)),
        *(part for study in studies.values() for part in _titled(split_tables(study))),
        "## Where the networks look",
        *(
            part
            for study in studies.values()
            for maps in make_maps(figures, runs, study, boxes, n_replicates)
            for part in (*_pictures(output, {maps.title: maps.picture}), *_titled(maps.tables))
        ),
        "Green: the box around the finding, where there is one.",
        "## Each cell",
        *(part for name, run in runs.items() for part in _cell(output, figures, name, run)),
    ]  # fmt: skip
    text = "\n\n".join(part.to_markdown() if isinstance(part, Table) else part for part in parts) + "\n"
    write_atomically(output.path / "report.md", text.encode())
    page = output.path / "report.html"
    write_atomically(page, to_html(text).encode())
    return Report(page, table)


def to_html(text: str) -> str:
    """A page of its own of Markdown."""
    from markdown import markdown

    body = markdown(text, extensions=["tables", "md_in_html", "sane_lists"])
    title = text.splitlines()[0].lstrip("# ")
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def find_boxes(folder: Path) -> Boxes | None:
    """NIH's box list beside its labels, if it is there."""
    found = sorted(folder.glob("BBox_List_2017.csv*"))
    return read_boxes(found[0]) if found else None


def _head(runs: Mapping[str, EvaluatedRun], states: Mapping[str, tuple[str, str]]) -> Iterable[str | Table]:
    synthetic = any(run.synthetic for run in runs.values())
    yield "# Chest X-rays: " + ("cells of the study on SYNTHETIC phantoms" if synthetic else "the study, reproduced")
    if synthetic:
        yield (
            '<p class="warning">The images were drawn by a program, of no patient. <b>No figure on this page has a '
            "medical meaning</b>, and none says how a block does on X-rays.</p>"
        )
    yield "Not a medical device. Labels of ChestX-ray14 were mined from reports; figures measure agreement with them."
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    devices = ", ".join(dict.fromkeys(str(run.info.get("device")) for run in runs.values()))
    yield (
        f"Written {datetime.date.today()} on {os.cpu_count()} {platform.machine()} cores; trained on {devices}; "
        f"Python {platform.python_version()}, {versions}."
    )
    missing = {name: state for name, state in states.items() if state[0] != "done"}
    if missing:
        rows = tuple((name, *state) for name, state in missing.items())
        yield f"**{len(missing)} of {len(states)} cells are not in this report:**"
        yield Table(("cell", "state", "why"), rows)


def _leak(runs: Mapping[str, EvaluatedRun]) -> Iterable[str]:
    leaking = [name for name, run in runs.items() if run.seen]
    if leaking:
        yield (
            f'<p class="warning"><b>{", ".join(leaking)}: trained on part of its own test set</b> (column “seen in '
            "training”), as the report's first stage did. Its AUROC is too high, and no other cell is compared with it."
            "</p>"
        )


def _cell(output: Output, figures: Path, name: str, run: EvaluatedRun) -> Iterable[str]:
    yield f'<details markdown="1"><summary>{name}</summary>'
    yield (output.run(name).evaluation / "evaluation.md").read_text().strip().replace("\n## ", "\n#### ")
    yield from _pictures(output, draw_curves(figures, name, run))
    yield f"[Model card](runs/{name}/MODEL_CARD.md), [recipe](runs/{name}/recipe.yaml)"
    yield "</details>"


def _studies(runs: Mapping[str, EvaluatedRun], source: StudySource) -> dict[str, Study]:
    """The study of each split, by its checksum.

    Raises:
        AWBError: A run was trained on other labels, another split or another store.
    """
    studies = {}
    for run, study in zip(runs.values(), source.studies(run.recipe for run in runs.values()), strict=True):
        ours = identity(run.recipe, study)
        require_same_run(run.folder.path, {name: run.info["identity"].get(name, "missing") for name in ours}, ours)
        studies[study.split.checksum] = study
    return studies


def _pictures(output: Output, drawn: Mapping[str, Path]) -> Iterable[str]:
    for caption, path in drawn.items():
        yield f"![{caption}]({path.relative_to(output.path)})\n\n*{caption}*"


def _titled(tables: Mapping[str, Table]) -> Iterable[str | Table]:
    for title, table in tables.items():
        yield f"### {title}"
        yield table


def _reasons(states: Mapping[str, tuple[str, str]]) -> str:
    return "; ".join(f"{name} {state}{f' ({why})' if why else ''}" for name, (state, why) in states.items())
