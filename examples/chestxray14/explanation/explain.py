"""Files that `explain` writes: measures and tables of maps where there are boxes, and pictures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from awb.markup import in_markdown
from examples.chestxray14.data.origin import origin_of
from examples.chestxray14.explanation.baselines import BASELINES
from examples.chestxray14.explanation.cases import Case
from examples.chestxray14.explanation.localisation import Localisation, Rules, measure_models
from examples.chestxray14.explanation.localisation_tables import Over, by_finding, by_method, compare_methods
from examples.chestxray14.explanation.maps import Inputs, MapMaker
from examples.chestxray14.explanation.pictures import captions, overlays, save_picture, sheet
from examples.chestxray14.files.names import file_name

TABLES, VALUES, SHEET = "localisation.md", "localisation.csv", "overlays.png"
_SHEET_ROWS = 12


def write_localisation(
    folder: Path,
    makers: Sequence[MapMaker],
    inputs: Inputs,
    cases: Sequence[Case],
    rules: Rules,
    *,
    over: Over = "findings",
    n_replicates: int = 2000,
    seed: int = 0,
) -> str:
    """Measure maps and baselines against boxes, and write `localisation.csv` and `localisation.md`.

    Args:
        folder: Folder to write into.
        makers: Maps to measure.
        inputs: Inputs of all networks.
        cases: Cases with boxes in pixels of the networks' input.
        rules: Rules of measuring.
        over: `findings` or `cases`, over which means are taken as in `by_method`.
        n_replicates: Bootstrap replicates.
        seed: Seed of the bootstrap and of the random map.

    Returns:
        The tables as Markdown.
    """
    results = measure_models(makers, inputs, cases, rules, seed)
    write_values(folder / VALUES, results)
    tables = _tables(results, rules, over=over, n_replicates=n_replicates, seed=seed)
    text = f"{_headline(cases, inputs)}\n\n{tables}\n"
    (folder / TABLES).write_text(text, encoding="utf-8")
    return text


def write_values(path: Path, results: Mapping[str, Localisation]) -> None:
    """Write each measure of each map as CSV, one row per map."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, (name, result) in enumerate(results.items()):
            if number == 0:
                writer.writerow(("maps", "image", "patient", "finding", "boxes", *result.measures))
            for case, values in zip(result.cases, result.values, strict=True):
                numbers = (f"{value:.6g}" for value in values)
                writer.writerow((name, case.image, case.patient, case.finding, len(case.boxes), *numbers))


def write_overlays(folder: Path, makers: Sequence[MapMaker], inputs: Inputs, cases: Sequence[Case]) -> None:
    """Write one strip of pictures per case, `<image>, <finding>.png`, and the first cases in one sheet."""
    columns = captions(makers)
    rows: list[tuple[str, list[Image.Image]]] = []
    for case, pictures in zip(cases, overlays(makers, inputs, cases), strict=True):
        row = (case.finding, pictures)
        name = file_name(f"{case.image.removesuffix('.png')}, {case.finding}")
        save_picture(sheet([row], columns), folder / f"{name}.png")
        if len(rows) < _SHEET_ROWS:
            rows.append(row)
    if rows:
        save_picture(sheet(rows, columns), folder / SHEET)


def _headline(cases: Sequence[Case], inputs: Inputs) -> str:
    n_boxes, n_images = sum(len(case.boxes) for case in cases), len({case.image for case in cases})
    n_patients = len({case.patient for case in cases})
    origin = origin_of((case.image for case in cases), labels_from_nih=False)
    synthetic = "Synthetic images, of no medical meaning: " if origin == "phantoms" else ""
    size = inputs.transform.size
    return (
        f"{synthetic}{n_boxes:,} boxes on {n_images:,} images of {n_patients:,} patients, measured at {size}×{size} "
        "pixels"
    )


def _tables(results: Mapping[str, Localisation], rules: Rules, *, over: Over, n_replicates: int, seed: int) -> str:
    """Tables by method, of differences from the first network, and of each network by finding, as Markdown."""
    reference = next(iter(results))
    options: dict[str, Any] = {"n_replicates": n_replicates, "seed": seed}
    tables = {
        "Maps and baselines": by_method(results, over=over, **options),
        f"Differences from {reference}": compare_methods(results, reference, over=over, **options),
        **{name: by_finding(result, **options) for name, result in results.items() if name not in BASELINES},
    }
    rule = f"Pointing game with a tolerance of {rules.tolerance:g} of the side; regions at shares of the maximum."
    return "\n\n".join(
        [rule, *(f"## {in_markdown(title)}\n\n{table.to_markdown()}" for title, table in tables.items())]
    )
