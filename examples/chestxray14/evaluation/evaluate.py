"""Evaluation of a finished run on its split's test set, with thresholds chosen on validation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from awb import Table
from awb.markup import in_markdown
from awb.study import (
    LabelTable,
    bands,
    choose_thresholds,
    evaluate,
    evaluate_calibration,
    operating_points,
)
from awb.study.metrics.table_columns import interval_header
from examples.chestxray14.data.nih import SUBGROUPS
from examples.chestxray14.data.study import Study
from examples.chestxray14.data.supported_findings import FEWEST, supported, unsupported_note
from examples.chestxray14.evaluation.leak import find_leak
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.files.checksums import write_sums
from examples.chestxray14.runs.folder import RunFolder, identity

AGES = (0, 18, 40, 60, 80)  # years, where the age bands begin
Floats = npt.NDArray[np.float64]
_RANKING = ("AUROC", interval_header("AUROC", 0.95), "AUPRC", interval_header("AUPRC", 0.95))


def evaluate_run(folder: RunFolder, study: Study, workers: int = 0, n_replicates: int = 2000) -> dict[str, Table]:
    """Predict, and write predictions, labels, the tables and the model card into the run's folder.

    Returns:
        The tables by their titles.

    Raises:
        AWBError: As `predict_run`.
    """
    from examples.chestxray14.evaluation.model_card import write_model_card
    from examples.chestxray14.training.predict import write_labels, write_predictions

    validation, probs = predict_run(folder, study, workers)
    trained = folder.trained_sums()
    write_sums(folder.sums, (), trained)  # those of an evaluation before no longer hold, from here on
    out = folder.evaluation
    out.mkdir(exist_ok=True)
    for name, table in (("validation", validation), ("test", study.test)):
        write_predictions(out / f"predictions-{name}.csv", table, probs[name])
        write_labels(out / f"labels-{name}.csv", table)
    tables = dict(evaluation_tables(study.test, probs["test"], validation, probs["validation"], n_replicates))
    text = "".join(f"## {in_markdown(title)}\n\n{result.to_markdown()}\n\n" for title, result in tables.items())
    recipe = folder.read_recipe()
    leak = find_leak(recipe, study.split, study.test).note()
    head = in_markdown(study.headline()) + (f"\n\n**{in_markdown(leak)}**" if leak else "")
    write_atomically(out / "evaluation.md", f"{head}\n\n{text}".encode())
    write_model_card(folder, recipe, study, next(iter(tables.values())))
    written = [path for path in sorted(out.iterdir()) if not path.name.startswith(".")]
    write_sums(folder.sums, written, trained)  # last: it says that all is there
    return tables


def predict_run(folder: RunFolder, study: Study, workers: int) -> tuple[LabelTable, dict[str, Floats]]:
    """A run's weights on its last stage's validation set, and on its test set.

    Returns:
        The validation set, and the probabilities of both, float64 (n, C).

    Raises:
        AWBError: The run has not finished, was trained on another split, other classes or images, or what it is read
            from is not what was written.
    """
    from examples.chestxray14.data.dataset import XrayDataset
    from examples.chestxray14.training.predict import predict_logits
    from examples.chestxray14.training.trained_network import load_run
    from examples.chestxray14.training.trainer import make_accelerator

    recipe = folder.read_recipe()
    folder.read_split()  # that what is signed is the run's own
    folder.require(identity(recipe, study))
    study.store.verify()
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
    """Titles and tables: ranking with patient intervals, decisions, calibration, and subgroups.

    Of the findings that enough test patients have; the others are named.
    """
    use, note = supported(test), unsupported_note(test)
    if not use.any():
        yield "AUROC and AUPRC", Table(("class",), (), note)
        return
    test, probs = _of_findings(test, use), probs[:, use]
    validation, validation_probs = _of_findings(validation, use), validation_probs[:, use]
    ranking = evaluate(test.labels, probs, test.groups, classes=test.classes, n_replicates=n_replicates)  # type: ignore[arg-type]
    yield "AUROC and AUPRC", ranking.with_notes(*note)
    yield (
        "Decisions at thresholds chosen on validation (Youden's)",
        _decisions(test, probs, validation, validation_probs),
    )
    yield "Calibration", evaluate_calibration(test.labels, probs, classes=test.classes)
    for title, subgroups in _subgroups(test):
        yield title, _macro_by(subgroups, test, probs, n_replicates)


def _of_findings(table: LabelTable, use: npt.NDArray[np.bool_]) -> LabelTable:
    classes = np.array(table.classes)[use].tolist()
    return LabelTable(table.images, classes, table.labels[:, use], table.groups, table.columns)


def _decisions(test: LabelTable, probs: Floats, validation: LabelTable, validation_probs: Floats) -> Table:
    """Youden's thresholds; classes with one label only in validation have none, and are named."""
    usable = supported(validation, 1)
    left_out = [name for name, ok in zip(test.classes, usable, strict=True) if not ok]
    notes = (f"no threshold, since validation has one label only: {', '.join(left_out)}",) if left_out else ()
    if not usable.any():
        return Table(("class",), (), notes)
    classes = [name for name in test.classes if name not in left_out]
    thresholds = choose_thresholds(validation.labels[:, usable], validation_probs[:, usable], classes=classes)
    table = operating_points(test.labels[:, usable], probs[:, usable], thresholds, classes=classes)
    return table.with_notes(*notes)


def _macro_by(subgroups: npt.NDArray[np.str_], test: LabelTable, probs: Floats, n_replicates: int) -> Table:
    """The macro mean of each subgroup, of the findings that enough of its patients have; others are named.

    Args:
        subgroups: Of each image, empty if it is not known.
    """
    rows, small = [], []
    for name in sorted(set(subgroups.tolist()) - {""}):
        inside = test.take(subgroups == name)
        use = supported(inside)
        if not use.any():
            small.append(name)
            continue
        assert inside.groups is not None
        *_, macro = evaluate(
            inside.labels[:, use], probs[subgroups == name][:, use], inside.groups,
            classes=np.array(inside.classes)[use].tolist(), n_replicates=n_replicates,
        )  # fmt: skip
        patients = len(np.unique(inside.groups))
        rows.append((name, len(inside), patients, int(use.sum()), *(macro[header] for header in _RANKING)))
    notes = [f"of each subgroup, the findings that at least {FEWEST} of its patients have and {FEWEST} have not"]
    if len({row[3] for row in rows}) > 1:
        notes.append("means of different numbers of findings: not to be compared with each other")
    if any(row[-1] is None and row[-2] is not None for row in rows):
        notes.append("no interval where the replicates lie too far to one side of the mean for any to hold")
    if small:
        notes.append(f"left out, since there is no such finding: {', '.join(small)}")
    if unknown := int((subgroups == "").sum()):
        notes.append(f"left out, since their subgroup is not known: {unknown:,} of {len(test):,} images")
    return Table(("subgroup", "images", "patients", "findings", *_RANKING), tuple(rows), tuple(notes))


def _subgroups(test: LabelTable) -> Iterator[tuple[str, npt.NDArray[np.str_]]]:
    """Those of which the table has a column; empty where it is."""
    for name in SUBGROUPS:
        values = test.columns.get(name)
        if values is None:
            continue
        if name == "age":
            known = values != ""
            values = np.where(known, bands(np.where(known, values, "0").astype(np.float64), AGES), "")
        yield f"Macro, by {name}", values
