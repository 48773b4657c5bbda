"""Which patient-wise split of ChestX-ray14 keeps its 14 findings nearest to 70/10/20 %?

    python -m benchmarks.split_balance

Prints, for each way of splitting, how far the positives of a finding are from a set's share of them (in per cent of
that share): the worst of all findings and sets, and the mean; and of the images. Exits with 1 if `split_by_group`
is not the best.
"""

from __future__ import annotations

import statistics
import sys
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from awb import Table
from awb.study import LabelTable, split_by_group
from benchmarks.environment import environment
from examples.chestxray14.data.nih import packaged_data_entry, read_data_entry

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
SEEDS = 10
SHUFFLES = 100

Sets = npt.NDArray[np.int64]  # the set of each image, as its index in SHARES


def ours(table: LabelTable, seed: int) -> Sets:
    split = split_by_group(table, SHARES, seed)
    sets = np.zeros(len(table), dtype=np.int64)
    for index, images in enumerate(split.sets.values()):
        sets[table.find(images)] = index
    return sets


def shuffled(table: LabelTable, seed: int) -> Sets:
    """Split by scikit-learn's GroupShuffleSplit, test set first."""
    from sklearn.model_selection import GroupShuffleSplit

    sets = np.zeros(len(table), dtype=np.int64)
    rest, test = next(GroupShuffleSplit(1, test_size=0.2, random_state=seed).split(sets, groups=table.groups))
    splitter = GroupShuffleSplit(1, test_size=0.125, random_state=seed)
    _, validation = next(splitter.split(rest, groups=table.groups[rest]))  # type: ignore[index]
    sets[test], sets[rest[validation]] = 2, 1
    return sets


def stratified(table: LabelTable, seed: int, one_label: npt.NDArray[np.int64]) -> Sets:
    """Split by scikit-learn's StratifiedGroupKFold: ten folds; seven, one and two of them make the sets."""
    from sklearn.model_selection import StratifiedGroupKFold

    sets = np.zeros(len(table), dtype=np.int64)
    folds = StratifiedGroupKFold(10, shuffle=True, random_state=seed).split(sets, one_label, table.groups)
    for fold, (_, rows) in enumerate(folds):
        sets[rows] = (0, 0, 0, 0, 0, 0, 0, 1, 2, 2)[fold]
    return sets


def rarest_label(table: LabelTable) -> npt.NDArray[np.int64]:
    """Index of the rarest finding of each image; the number of findings if it has none."""
    rank = np.where(table.labels == 1, table.labels.sum(0), np.inf)
    return np.where(table.abnormal, rank.argmin(axis=1), len(table.classes))


def combination(table: LabelTable) -> npt.NDArray[np.int64]:
    return np.unique(table.labels, axis=0, return_inverse=True)[1].astype(np.int64)


def deviations(table: LabelTable, sets: Sets) -> tuple[float, float, float]:
    """Relative deviations from the shares: worst and mean over findings and sets, and worst of the images."""
    shares = np.array(list(SHARES.values()))
    images = np.array([(sets == i).mean() for i in range(len(shares))]) / shares - 1
    positives = np.array([table.labels[sets == i].sum(0) for i in range(len(shares))])
    findings = abs(positives / (shares[:, None] * table.labels.sum(0)) - 1)
    return float(findings.max()), float(findings.mean()), float(abs(images).max())


def main() -> int:
    table = read_data_entry(packaged_data_entry())
    ways: dict[str, tuple[int, Callable[[int], Sets]]] = {
        "split_by_group": (SEEDS, lambda seed: ours(table, seed)),
        "StratifiedGroupKFold, rarest finding": (1, lambda seed: stratified(table, seed, rarest_label(table))),
        "StratifiedGroupKFold, combination": (1, lambda seed: stratified(table, seed, combination(table))),
        "GroupShuffleSplit": (SHUFFLES, lambda seed: shuffled(table, seed)),
    }
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # StratifiedGroupKFold warns of combinations rarer than folds
        for name, (seeds, way) in ways.items():
            found = [deviations(table, way(seed)) for seed in range(seeds)]
            worst = [each[0] for each in found]
            middle = statistics.median(worst)
            best = min(found)
            rows.append((name, seeds, *(round(100 * x, 2) for x in (best[0], middle, max(worst), best[1], best[2]))))
    headers = (
        "way",
        "seeds",
        "worst finding, best seed, %",
        "median seed, %",
        "worst seed, %",
        "mean finding, %",
        "images, %",
    )
    notes = ("mean finding and images are of the best seed", environment("numpy", "scikit-learn"))
    print(Table(headers, tuple(rows), notes))
    return 0 if rows[0][4] < min(row[2] for row in rows[1:]) else 1


if __name__ == "__main__":
    sys.exit(main())
