"""Tables of results by view, sex and age, with a row per subgroup."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from awb import Table
from awb.study import LabelTable, bands
from examples.chestxray14.data.labels import SUBGROUPS
from examples.chestxray14.evaluation.evaluated_run import MIN_PATIENTS, Floats

AGES = (0, 18, 40, 60, 80)  # years at which the age bands start
Subgroups = npt.NDArray[np.str_]


def subgroups_of(test: LabelTable) -> Iterator[tuple[str, Subgroups]]:
    """Name and subgroup of each image, (n,), for each subgroup column of the table; empty where it is not known."""
    for name in SUBGROUPS:
        values = test.columns.get(name)
        if values is None:
            continue
        if name == "age":
            known = values != ""
            values = np.where(known, bands(np.where(known, values, "0").astype(np.float64), AGES), "")
        yield name, values


def table_by_subgroup(
    subgroups: Subgroups,
    test: LabelTable,
    probs: Floats,
    nouns: tuple[str, str],
    headers: Sequence[str],
    measure: Callable[[LabelTable, Floats], Sequence[object]],
    no_interval: str,
) -> Table:
    """One row per subgroup: its images, patients and classes with enough patients, and what is measured of it.

    Args:
        subgroups: Subgroup of each image, (n,); empty if it is not known.
        test: Labels of the test set, with patients.
        probs: Probabilities of the test set, (n, C).
        nouns: What a class is called, one and several.
        headers: Headers of the measured columns, pairs of a value and its interval.
        measure: Their values, from the labels and probabilities of a subgroup.
        no_interval: Reason why a value may have no interval.
    """
    one, several = nouns
    rows, small = [], []
    for name in sorted(set(subgroups.tolist()) - {""}):
        inside = test.take(subgroups == name)
        n_classes = int(inside.supported(MIN_PATIENTS).sum())
        if not n_classes:
            small.append(name)
            continue
        values = measure(inside, probs[subgroups == name])
        rows.append((name, len(inside), len(np.unique(patients_of(inside))), n_classes, *values))
    notes = [
        f"of each subgroup, the {several} that at least {MIN_PATIENTS} of its patients have and {MIN_PATIENTS} have not"
    ]
    if len({row[3] for row in rows}) > 1:
        notes.append(f"means of different numbers of {several}: not to be compared with each other")
    pairs = [pair for row in rows for pair in zip(row[4::2], row[5::2], strict=True)]
    if any(value is not None and interval is None for value, interval in pairs):
        notes.append(f"no interval where {no_interval}")
    if small:
        notes.append(f"left out, since there is no such {one}: {', '.join(small)}")
    if unknown := int((subgroups == "").sum()):
        notes.append(f"left out, since their subgroup is not known: {unknown:,} of {len(test):,} images")
    return Table(("subgroup", "images", "patients", several, *headers), tuple(rows), tuple(notes))


def patients_of(table: LabelTable) -> npt.NDArray[np.str_]:
    """Patient of each image, (n,): every table of a study has them."""
    assert table.groups is not None
    return table.groups
