"""Finished and evaluated runs of a study in NIH's numbers, without training: for the scale of the report.

Labels, scores and patients are simulated, and their folder is signed as synthetic. The test set has NIH's images per
patient and positives per finding (`nih_like.py`); the other images are as many as NIH's first list has. The cells are
those of `study.yaml` with the network `tiny`, whose weights are random. Scores of the cells are correlated: what an
image looks like is the same to all of them. Every file of a run is written by the example's own functions; the text of
`evaluation.md`, which the report only shows, is computed once per split.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from awb.study import LabelTable, write_predictions
from benchmarks.nih_like import POSITIVES, Study, nih_like
from examples.chestxray14.data.dataset import count_steps
from examples.chestxray14.data.labels import IMAGE, PATIENT, SUBGROUPS
from examples.chestxray14.data.nih import NO_FINDING
from examples.chestxray14.data.origin import PREFIX, SIGNATURE
from examples.chestxray14.data.store import CHUNK, PIXELS, Index, write_index
from examples.chestxray14.data.study import Study as LabelledStudy
from examples.chestxray14.data.study import StudySource
from examples.chestxray14.evaluation.evaluate import _as_markdown
from examples.chestxray14.evaluation.evaluated_run import is_evaluated
from examples.chestxray14.evaluation.model_card import write_model_card
from examples.chestxray14.evaluation.tables import evaluation_tables
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.files.checksums import write_sums
from examples.chestxray14.phantoms.write import _HEADER, DATA_ENTRY, TEST, TRAIN_VAL
from examples.chestxray14.recipes.find import STUDY
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.reproduction.output import Output
from examples.chestxray14.runs.checkpoint import weights_file
from examples.chestxray14.runs.folder import RunFolder, identity
from examples.chestxray14.training.log import TrainingLog
from examples.chestxray14.training.networks import build_model
from examples.chestxray14.training.progress import EpochResult

SIZE = 32  # pixels of a stored image
_TRAINED = 86_524  # images of NIH's first list
_WORDS_REPLICATES = 20  # of evaluation.md


def write_data(folder: Path, share: float) -> StudySource:
    """Write labels, lists and an image store, with a share of NIH's patients."""
    data, store = folder / "data", folder / "store"
    if not (store / "index.json").is_file():
        data.mkdir(parents=True)
        (data / SIGNATURE).write_text(json.dumps({"synthetic": True}))
        test, other = nih_like(0), nih_like(1)
        names = []
        with (data / DATA_ENTRY).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_HEADER)
            for list_name, study, count in ((TEST, test, len(test.patients)), (TRAIN_VAL, other, _TRAINED)):
                rows = list(_rows(study, list_name == TEST, round(share * count)))
                writer.writerows(rows)
                (data / list_name).write_text("".join(f"{row[0]}\n" for row in rows))
                names += [row[0] for row in rows]
        _write_store(store, names)
    return StudySource(data, store)


def write_study(path: Path) -> None:
    """The study's cells with the network `tiny` on NIH's own split; a dropout stands for the second backbone."""
    content = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    base = content["base"]
    base["model"] |= {"backbone": "tiny", "pretrained": False}
    base["data"] |= {"split": {"name": "official", "seed": 0, "allow_overlap": []}, "image_size": SIZE}
    base["training"]["lr_finder"] = None
    content["pieces"]["first"]["optimizer"]["lr"] = 1e-3
    content["axes"]["network"] = {"densenet121": {}, "vgg16_bn": {"model.dropout": 0.2}}
    content["exceptions"].pop("the report's DenseNet121 has no ReLU before pooling")
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def write_run(output: Output, name: str, recipe: Recipe, source: StudySource, words: dict[str, bytes]) -> None:
    """Write a cell's folder as training and evaluation would.

    Args:
        output: Output folder of the reproduction.
        name: Name of the cell.
        recipe: Recipe of the cell.
        source: Data of the study.
        words: Content of evaluation.md by split, filled here.
    """
    folder, study = output.run(name), source.study(recipe)
    if is_evaluated(folder):
        return
    generator = np.random.default_rng([int(recipe.checksum[:8], 16)])
    known = identity(recipe, study)
    folder.begin(recipe, study, known)
    _write_logs(folder, recipe, study, generator)
    model = build_model(recipe.model, len(study.table.classes), SIZE, 0, pretrained=False)
    folder.finish(weights_file(model.state_dict(), known))
    validation = study.validation(recipe.schedule().stages[-1])
    sets = {"validation": validation, "test": study.test}
    probs = {key: _probabilities(labels, generator) for key, labels in sets.items()}
    trained = folder.trained_sums()
    out = folder.evaluation
    out.mkdir(exist_ok=True)
    for key, labels in sets.items():
        write_predictions(out / f"predictions-{key}.csv", labels, probs[key], image=IMAGE)
        columns = [column for column in SUBGROUPS if column in labels.columns]
        labels.save(out / f"labels-{key}.csv", image=IMAGE, group=PATIENT, columns=columns)
    if study.split.checksum not in words:
        tables = dict(evaluation_tables(study.test, probs["test"], [0.5] * len(study.test.classes), _WORDS_REPLICATES))
        words[study.split.checksum] = _as_markdown(tables, study.headline(recipe.task), "")
    write_atomically(out / "evaluation.md", words[study.split.checksum])
    write_model_card(folder, recipe, study)
    write_sums(folder.sums, sorted(out.iterdir()), trained)


def _rows(study: Study, is_test: bool, count: int) -> Iterator[tuple[Any, ...]]:
    """Rows of a label file: whole patients until there are enough images, in a random order of patients."""
    generator = np.random.default_rng(int(is_test))
    round_of = -1
    written = 0
    while written < count:
        round_of += 1
        for patient in generator.permutation(study.patients.max() + 1).tolist():
            age, sex = int(generator.integers(20, 90)), "MF"[patient % 2]
            for place, i in enumerate(np.flatnonzero(study.patients == patient).tolist()):
                findings = [name for name, y in zip(study.classes, study.y_true[i], strict=True) if y]
                number = 1_000_000 * int(is_test) + 10_000 * round_of + patient
                image = f"{PREFIX}{number:08d}_{place:03d}.png"
                view = ("PA", "AP")[i % 2]
                yield image, "|".join(findings) or NO_FINDING, place, number, age, sex, view, SIZE, SIZE, 0, 0
                written += 1
            if written >= count:
                return


def _write_store(folder: Path, names: list[str]) -> None:
    import hashlib

    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (len(names), SIZE, SIZE), dtype=np.uint8)
    pixels.tofile(folder / PIXELS)
    chunks = [pixels[i : i + CHUNK] for i in range(0, len(names), CHUNK)]
    sums = tuple(hashlib.sha256(chunk.tobytes()).hexdigest() for chunk in chunks)
    write_index(folder, Index(SIZE, tuple(names), sums, sums))


def _write_logs(folder: RunFolder, recipe: Recipe, study: LabelledStudy, generator: np.random.Generator) -> None:
    step = 0
    with TrainingLog(folder, recipe.task, 0, 0, active=True) as log:
        for stage in recipe.stages:
            n_steps = count_steps(len(study.train(stage)), recipe.data.batch_size)
            for epoch in range(stage.epochs):
                loss = 0.1 + 0.3 / (1 + epoch) + 0.01 * generator.random()
                for place in range(n_steps):
                    step += 1
                    log.step(step, stage.name, epoch, place, loss, 1e-3 / (1 + epoch))
                score = 0.85 - 0.2 / (1 + epoch)
                log.epoch(step, stage.name, epoch, EpochResult(loss, loss + 0.02, score, True, 300.0), 1e-3)


def _probabilities(labels: LabelTable, generator: np.random.Generator) -> np.ndarray:
    """Calibrated in the mean, correlated across cells: half of the noise belongs to the image."""
    shared = np.random.default_rng(2).normal(size=labels.labels.shape)
    own = generator.normal(size=labels.labels.shape)
    rare = np.log(np.array([POSITIVES[name] for name in labels.classes]) / 25_596)
    logits = rare + 1.4 * labels.labels + np.sqrt(0.5) * shared + np.sqrt(0.5) * own
    return np.asarray(1 / (1 + np.exp(-logits)))
