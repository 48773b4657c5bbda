"""Evaluation of a finished run on the test set of its split, with thresholds chosen on validation."""

from __future__ import annotations

from torch import Tensor

from awb import Table
from awb.markup import in_markdown
from awb.study import LabelTable, write_predictions
from examples.chestxray14.data.dataset import XrayDataset
from examples.chestxray14.data.labels import IMAGE, PATIENT, SUBGROUPS
from examples.chestxray14.data.splits import set_name
from examples.chestxray14.data.study import Study
from examples.chestxray14.evaluation.class_tables import class_tables
from examples.chestxray14.evaluation.decisions import choose_decisions, write_decisions
from examples.chestxray14.evaluation.leak import find_leak
from examples.chestxray14.evaluation.model_card import write_model_card
from examples.chestxray14.evaluation.tables import evaluation_tables
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.files.checksums import write_sums
from examples.chestxray14.runs.folder import RunFolder, identity
from examples.chestxray14.training.accelerator import make_accelerator
from examples.chestxray14.training.predict import load_run, predict_logits


def evaluate_run(
    folder: RunFolder, study: Study, workers: int = 0, n_replicates: int = 2000, *, calibrate: bool = False
) -> dict[str, Table]:
    """Predict, then write predictions, labels, decisions, tables and the model card into the run's folder.

    Args:
        folder: Folder of a finished run.
        study: Labels, images and split that the run was trained on.
        workers: Processes that load images; 0 loads them in this one.
        n_replicates: Bootstrap replicates.
        calibrate: Fit temperatures on validation; all that is written is then of calibrated probabilities.

    Returns:
        The tables by title.

    Raises:
        AWBError: As in `predict_run`.
    """
    sets, logits = predict_run(folder, study, workers)
    recipe = folder.read_recipe()
    chosen_on = set_name(recipe.stages[-1], "validation")
    decisions = choose_decisions(sets["validation"], logits["validation"], recipe.task, chosen_on, calibrate=calibrate)
    probs = {name: decisions.probabilities(values) for name, values in logits.items()}
    trained = folder.trained_sums()
    write_sums(folder.sums, (), trained)  # from here on, the checksums of an earlier evaluation no longer hold
    out = folder.evaluation
    out.mkdir(exist_ok=True)
    write_decisions(folder, decisions)
    for name, labels in sets.items():
        write_predictions(out / f"predictions-{name}.csv", labels, probs[name], image=IMAGE)
        subgroups = [column for column in SUBGROUPS if column in labels.columns]
        labels.save(out / f"labels-{name}.csv", image=IMAGE, group=PATIENT, columns=subgroups)
    if recipe.task == "classes":
        tables = dict(class_tables(study.test, probs["test"], n_replicates))
    else:
        tables = dict(evaluation_tables(study.test, probs["test"], decisions.thresholds, n_replicates))
    if calibrate:
        note = f"of calibrated probabilities, by temperatures that were fitted on {chosen_on}"
        tables = {title: table.with_notes(note) for title, table in tables.items()}
        tables["Temperatures"] = decisions.table()
    write_atomically(
        out / "evaluation.md",
        _as_markdown(tables, study.headline(recipe.task), find_leak(recipe, study.split, study.test).note()),
    )
    write_model_card(folder, recipe, study, next(iter(tables.values())))
    written = [path for path in sorted(out.iterdir()) if not path.name.startswith(".")]
    write_sums(folder.sums, written, trained)  # last: it says that everything has been written
    return tables


def predict_run(folder: RunFolder, study: Study, workers: int) -> tuple[dict[str, LabelTable], dict[str, Tensor]]:
    """Predict the validation set of a run's last stage, and its test set.

    Returns:
        Labels and logits, (n, C), of `validation` and `test`.

    Raises:
        AWBError: The run has not finished, or was trained on another split, other classes or other images; or one of
            its files, or the image store, is damaged.
    """
    recipe = folder.read_recipe()
    folder.read_split()  # refused if it is not the run's own
    folder.require(identity(recipe, study))
    study.store.verify()
    accelerator = make_accelerator(recipe)
    model = load_run(folder.path).to(accelerator.device)
    sets = {"validation": study.validation(recipe.stages[-1]), "test": study.test}
    logits = {}
    for name, labels in sets.items():
        dataset = XrayDataset(study.store, labels, recipe.data.transform(training=False))
        logits[name] = predict_logits(accelerator, model, dataset, recipe.data.batch_size, workers)
    return sets, logits


def _as_markdown(tables: dict[str, Table], headline: str, leak: str) -> bytes:
    """The page `evaluation.md`."""
    head = in_markdown(headline) + (f"\n\n**{in_markdown(leak)}**" if leak else "")
    text = "".join(f"## {in_markdown(title)}\n\n{table.to_markdown()}\n\n" for title, table in tables.items())
    return f"{head}\n\n{text}".encode()
