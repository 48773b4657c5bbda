"""Sections of the report, as Markdown and tables."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path

from awb import Table
from awb.errors import shortlist
from awb.markup import in_html, in_markdown
from examples.chestxray14.data.boxes import Boxes
from examples.chestxray14.data.origin import Origin
from examples.chestxray14.data.study import Study
from examples.chestxray14.evaluation.evaluated_run import RunSummary
from examples.chestxray14.evaluation.model_card import LABEL_NOISE
from examples.chestxray14.reproduction.answers import answers
from examples.chestxray14.reproduction.cell_results import CellResults
from examples.chestxray14.reproduction.contrasts import Contrast
from examples.chestxray14.reproduction.costs import cost_table
from examples.chestxray14.reproduction.differences import lonely_table, recipes_table
from examples.chestxray14.reproduction.factors import split_names
from examples.chestxray14.reproduction.maps import group_cells, make_maps
from examples.chestxray14.reproduction.output import Output, State
from examples.chestxray14.reproduction.page import without_links
from examples.chestxray14.reproduction.pictures import draw_data
from examples.chestxray14.reproduction.progress import Progress
from examples.chestxray14.reproduction.tables import split_tables, time_table

Parts = Iterable[str | Table]
Runs = Mapping[str, RunSummary]
Studies = Mapping[str, Study]  # by the checksum of the split

_PACKAGES = ("awb", "torch", "torchvision", "timm", "scikit-learn", "captum")
_TITLES: Mapping[Origin, str] = {
    "phantoms": "Chest X-rays: cells of the study on SYNTHETIC phantoms",
    "NIH": "Chest X-rays: the study, reproduced",
    "own": "Cells of a study on a table of one's own",
}


def head(origin: Origin) -> Parts:
    """Title, and a warning for phantoms."""
    yield f"# {_TITLES[origin]}"
    if origin == "phantoms":
        yield (
            '<p class="warning">The images were drawn by a program, of no patient. <b>No figure on this page has a '
            "medical meaning</b>, and none says how a block does on X-rays.</p>"
        )
    yield f"Not a medical device. Label noise: {LABEL_NOISE[origin]}"


def leak(runs: Runs) -> Parts:
    """Warning that names the cells which leak."""
    leaking = in_html(", ".join(name for name, run in runs.items() if run.leak.any))
    if leaking:
        yield (
            f'<p class="warning"><b>{leaking}: trained on part of its own test set, or on other images of '
            "its patients</b> (columns “images seen” and “of seen patients”), as the 2025 report's first stage did. "
            "Its AUROC is too high, and it is compared only with cells that have seen the same.</p>"
        )


def missing(output: Output, states: Mapping[str, tuple[State, str]]) -> Parts:
    """Cells that were asked for and are not in the report, and those of the folder that were not asked for."""
    absent = {name: state for name, state in states.items() if state[0] != "done"}
    if absent:
        rows = tuple((name, *state) for name, state in absent.items())
        yield f"**{len(absent)} of {len(states)} cells are not in this report:**"
        yield Table(("cell", "state", "why"), rows)
    others = sorted(path.name for path in (output.path / "runs").iterdir() if path.name not in states)
    if others:
        yield f"**{len(others)} other cells of this folder were not asked for: {in_markdown(shortlist(others))}.**"


def in_short(compared: Mapping[str, Contrast], runs: Runs) -> Parts:
    """One sentence per question."""
    yield "## In short"
    sentences = [f"- {in_markdown(sentence)}" for sentence in answers(compared, runs)]
    yield "\n".join(sentences) or "No two cells differ in one question's factors only, so no question is answered."


def recipes(runs: Runs) -> Parts:
    """Recipes of the cells, side by side."""
    splits = split_names(runs)
    yield "## Recipes"
    yield recipes_table(
        {name: run.recipe for name, run in runs.items()},
        {name: splits[run.split.checksum] for name, run in runs.items()},
    )


def comparisons(runs: Runs, compared: Mapping[str, Contrast]) -> Parts:
    """Pairs of cells per question, and the cells that are in none."""
    classes = _only_classes(runs)
    compare, noun = ("compare --metric auroc", "class") if classes else ("compare", "finding")
    yield "## Contrasts"
    yield (
        "The cells of a pair differ in what the question asks about, and in nothing else: blocks are placement, kind "
        "and start together, a schedule is everything that the recipe says about its stages (losses, images, epochs, "
        "frozen parts, optimisers). Test patients are the same. A difference whose interval contains 0 has not been "
        f"shown by this study. `{compare}` prints a pair's differences per {noun}."
    )
    yield from _titled({question: contrast.table for question, contrast in compared.items()})
    paired = {name for contrast in compared.values() for pair in contrast.pairs for name in (pair.a, pair.b)}
    lonely = lonely_table({name: run.recipe for name, run in runs.items()}, paired)
    if lonely is not None:
        yield from _titled({"Cells in no pair": lonely})


def costs(runs: Runs, origin: Origin) -> Parts:
    """Size of the networks, and time that they took."""
    yield "## Parameters and multiply–accumulates"
    n_classes = len(next(iter(runs.values())).test.classes)
    yield cost_table({name: run.recipe for name, run in runs.items()}, n_classes, published=origin != "own")
    yield "## Time"
    yield time_table(runs)


def data(output: Output, studies: Studies, runs: Runs, boxes: Boxes | None) -> Parts:
    """Labels, boxes and splits."""
    splits = split_names(runs)
    yield "## Data"
    study = next(iter(studies.values()))
    drawn = draw_data(output.path / "figures", study, boxes, exclusive=_only_classes(runs))
    yield from _pictures(output, drawn)
    for key, study in studies.items():
        if key in splits:
            recipes = [run.recipe for run in runs.values() if run.split.checksum == key]
            yield from _titled(split_tables(study, splits[key], recipes))


def maps(
    output: Output, studies: Studies, runs: Runs, boxes: Boxes | None, n_replicates: int, progress: Progress
) -> Parts:
    """Maps of groups of cells; nothing without such a group."""
    splits, folder = split_names(runs), output.path / "figures"
    groups = {
        key: group_cells({name: run for name, run in runs.items() if run.split.checksum == key})
        for key in studies
        if key in splits
    }
    made = (one for key in groups for one in make_maps(folder, runs, studies[key], splits[key], boxes, n_replicates))
    number = sum(map(len, groups.values()))
    if number:
        yield "## Where the networks look"
        yield "Green: the box around the finding, where there is one."
    for one in progress.steps(made, number, "maps of groups of cells"):
        yield f"### {in_markdown(one.heading)}"
        yield from _pictures(output, {one.title: one.picture})
        for title, table in one.tables.items():
            yield f"#### {in_markdown(title)}"
            yield table


def each_cell(output: Output, runs: Runs, found: Mapping[str, CellResults]) -> Parts:
    """Evaluation, curves and recipe of each cell, folded."""
    yield "## Each cell"
    for name, run in runs.items():
        yield f'<details markdown="1"><summary>{in_html(name)}</summary>'
        yield f"### {in_markdown(name)}"
        evaluation = (output.run(name).evaluation / "evaluation.md").read_text(encoding="utf-8")
        yield without_links(evaluation.strip().replace("\n## ", "\n#### "))
        yield "#### Curves"
        yield from _pictures(output, found[name].pictures)
        yield "#### Recipe"
        yield f"<pre>{_lines_in_html(run.recipe.to_yaml())}</pre>"
        yield f"The model card is {in_markdown(f'runs/{name}/MODEL_CARD.md')}, beside this page."
        yield "</details>"


def made(runs: Runs) -> Parts:
    """When and with what the report was written."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    devices = in_markdown(", ".join(dict.fromkeys(str(run.info["device"]) for run in runs.values())))
    yield "## Made with"
    yield (
        f"Written {datetime.date.today()} on {os.cpu_count()} {platform.machine()} cores; trained on {devices}; "
        f"Python {platform.python_version()}, {versions}."
    )


def _only_classes(runs: Runs) -> bool:
    """True if no run has findings."""
    return all(run.task == "classes" for run in runs.values())


def _pictures(output: Output, drawn: Mapping[str, Path]) -> Parts:
    for caption, path in drawn.items():
        where, caption = path.relative_to(output.path).as_posix(), in_markdown(caption)
        yield f"![{caption}]({where})\n\n*{caption}*"


def _titled(tables: Mapping[str, Table]) -> Parts:
    for title, table in tables.items():
        yield f"### {in_markdown(title)}"
        yield table


def _lines_in_html(text: str) -> str:
    return "\n".join(map(in_html, text.splitlines()))
