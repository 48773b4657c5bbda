"""Choice of the learning rates, by mean validation AUROC of one seed; the test set is not used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from awb import Table
from awb.study import auroc, macro, read_predictions
from benchmarks.kermany.arms import CONTROL, LKA, NONE, Arm
from benchmarks.kermany.training import Settings, Study, run

HEAD_LRS = (1e-3, 3e-3, 1e-2, 3e-2)
BLOCK_LRS = (1e-3, 3e-3)


def choose(study: Study) -> Table:
    """Table of candidate rates: the classifier's without blocks, then the blocks' for LKA (identity) and control."""
    headers = ("rate of", "arm", "rate", "AUROC pneumonia", "AUROC bacteria", "mean")
    rows = []
    for what, arm, settings in _candidates(study.settings):
        rate = settings.head_lr if what == "classifier" else settings.block_lr
        out = study.out / "choose" / f"{what}-{rate:g}"
        aurocs = _validation_aurocs(study.sharing_features(settings, out), arm)
        rows.append((what, arm.name, rate, *map(float, aurocs), macro(aurocs)))
    return Table(headers, tuple(rows), ("validation, seed 0",))


def _candidates(settings: Settings) -> Iterator[tuple[str, Arm, Settings]]:
    for lr in HEAD_LRS:
        yield "classifier", NONE, replace(settings, head_lr=lr)
    for lr in BLOCK_LRS:
        for arm in (LKA, CONTROL):
            yield "blocks", arm, replace(settings, block_lr=lr)


def _validation_aurocs(study: Study, arm: Arm) -> list[float]:
    held_out = study.held_out()
    logits = read_predictions(run(study, arm, 0), held_out)
    rows = held_out.find(study.sets["validation"].images)
    return list(auroc(held_out.labels[rows], logits[rows]))
