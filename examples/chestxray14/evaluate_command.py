"""`evaluate`: what a trained run is worth on its split's test set, with thresholds chosen on validation."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study import (
    LabelTable,
    bands,
    choose_thresholds,
    evaluate,
    evaluate_calibration,
    evaluate_subgroups,
    operating_points,
)
from awb.table import Table
from examples.chestxray14.atomic import write_atomically
from examples.chestxray14.checkpoint import require_same_run
from examples.chestxray14.run_folder import RunFolder, identity
from examples.chestxray14.study_data import SUBGROUPS, Study, add_study_arguments, study_of

AGES = (0, 18, 40, 60, 80)  # of the subgroups; in years
Floats = npt.NDArray[np.float64]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    add_study_arguments(parser)
    parser.add_argument("--workers", type=int, default=0, help="processes that load images (default: %(default)s)")
    parser.add_argument("--replicates", type=int, default=2000, metavar="N", help="of the bootstrap (%(default)s)")


def run(args: argparse.Namespace) -> int:
    folder = RunFolder(args.run)
    study = study_of(args, folder.read_recipe())
    print(study.headline(), flush=True)
    for title, result in evaluate_run(folder, study, args.workers, args.replicates).items():
        print(f"\n## {title}\n\n{result}")
    return 0


def evaluate_run(folder: RunFolder, study: Study, workers: int = 0, n_replicates: int = 2000) -> dict[str, Table]:
    """Predict, and write predictions, labels, the tables and the model card into the run's folder.

    Returns:
        The tables by their titles.

    Raises:
        AWBError: As `predict_run`, or no class has both labels in the validation set.
    """
    from examples.chestxray14.model_card import write_model_card
    from examples.chestxray14.predict import write_labels, write_predictions

    validation, probs = predict_run(folder, study, workers)
    out = folder.evaluation
    out.mkdir(exist_ok=True)
    for name, table in (("validation", validation), ("test", study.test)):
        write_predictions(out / f"predictions-{name}.csv", table, probs[name])
        write_labels(out / f"labels-{name}.csv", table)
    tables = dict(evaluation_tables(study.test, probs["test"], validation, probs["validation"], n_replicates))
    text = "".join(f"## {title}\n\n{result.to_markdown()}\n\n" for title, result in tables.items())
    write_atomically(out / "evaluation.md", f"{study.headline()}\n\n{text}".encode())  # last: it says that all is there
    write_model_card(folder, folder.read_recipe(), study, next(iter(tables.values())))
    return tables


def predict_run(folder: RunFolder, study: Study, workers: int) -> tuple[LabelTable, dict[str, Floats]]:
    """A run's weights on its last stage's validation set, and on its test set.

    Returns:
        The validation set, and the probabilities of both, float64 (n, C).

    Raises:
        AWBError: The run has not finished, or was trained on another split, other classes or images.
    """
    from examples.chestxray14.dataset import XrayDataset
    from examples.chestxray14.load_run import load_run
    from examples.chestxray14.predict import predict_logits
    from examples.chestxray14.trainer import make_accelerator

    recipe = folder.read_recipe()
    ours, trained = identity(recipe, study), folder.read_info()["identity"]
    require_same_run(folder.path, {name: trained.get(name, "missing") for name in ours}, ours)
    accelerator = make_accelerator(recipe)
    model = load_run(folder.path).to(accelerator.device)
    validation = study.validation(recipe.schedule().stages[-1])
    probs = {}
    for name, table in (("validation", validation), ("test", study.test)):
        dataset = XrayDataset(study.store, table, recipe.data.transform(training=False))
        logits = predict_logits(accelerator, model, dataset, recipe.data.batch_size, workers)
        probs[name] = logits.double().sigmoid().numpy()
    return validation, probs


def evaluation_tables(
    test: LabelTable, probs: Floats, validation: LabelTable, validation_probs: Floats, n_replicates: int
) -> Iterator[tuple[str, Table]]:
    """Titles and tables: ranking with patient intervals, decisions, calibration, and subgroups."""
    assert test.groups is not None
    options: dict[str, Any] = {"classes": test.classes, "n_replicates": n_replicates, "undefined": "skip"}
    yield "AUROC and AUPRC", evaluate(test.labels, probs, test.groups, **options)
    yield (
        "Decisions at thresholds chosen on validation (Youden's)",
        _decisions(test, probs, validation, validation_probs),
    )
    yield "Calibration", evaluate_calibration(test.labels, probs, classes=test.classes)
    for title, subgroups in _subgroups(test):
        yield title, _macro_by(subgroups, test, probs, options)


def _decisions(test: LabelTable, probs: Floats, validation: LabelTable, validation_probs: Floats) -> Table:
    """Youden's thresholds; classes with one label only in validation have none, and are named."""
    usable = _both(validation.labels)
    left_out = [name for name, ok in zip(test.classes, usable, strict=True) if not ok]
    if not usable.any():
        raise AWBError("no class has both labels in the validation set: no threshold can be chosen")
    classes = [name for name in test.classes if name not in left_out]
    thresholds = choose_thresholds(validation.labels[:, usable], validation_probs[:, usable], classes=classes)
    table = operating_points(test.labels[:, usable], probs[:, usable], thresholds, classes=classes)
    notes = (f"no threshold, since validation has one label only: {', '.join(left_out)}",) if left_out else ()
    return Table(table.headers, table.rows, (*table.notes, *notes))


def _macro_by(subgroups: npt.NDArray[np.str_], test: LabelTable, probs: Floats, options: dict[str, Any]) -> Table:
    """The macro rows of the subgroups; those of one patient, or in which no class has both labels, are named."""
    assert test.groups is not None
    small = []
    for name in np.unique(subgroups).tolist():
        inside = subgroups == name
        if len(np.unique(test.groups[inside])) < 2 or not _both(test.labels[inside]).any():
            small.append(name)
    rows = ~np.isin(subgroups, small)
    if not rows.any():
        return Table(("subgroup",), (), ("no subgroup has two patients and both labels of a class",))
    table = evaluate_subgroups(test.labels[rows], probs[rows], test.groups[rows], subgroups[rows], **options)
    macro = tuple(row for row in table.rows if str(row[table.headers.index("class")]).startswith("macro"))
    notes = (f"left out, with one patient or no class that has both labels: {', '.join(small)}",) if small else ()
    return Table(table.headers, macro, (*table.notes, *notes))


def _both(labels: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((labels == 1).any(axis=0) & (labels == 0).any(axis=0))


def _subgroups(test: LabelTable) -> Iterator[tuple[str, npt.NDArray[np.str_]]]:
    """Those of which the table has a column, complete."""
    for name in SUBGROUPS:
        values = test.columns.get(name)
        if values is not None and (values != "").all():
            yield f"Macro, by {name}", bands(values.astype(np.float64), AGES) if name == "age" else values
