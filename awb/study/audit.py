"""Leakage: images and patients that sets share, and a refusal to train on what is held out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError, did_you_mean, shortlist
from awb.study.labels import LabelTable, require_groups
from awb.table import Table

_HEADERS = (
    "set", "seen in", "images of", "images", "seen", "share", "of seen patients", "share of images",
    "patients", "seen patients", "share of patients",
)  # fmt: skip


def audit_leakage(sets: Mapping[str, LabelTable], *, per_class: bool = True) -> Table:
    """Count what each set shares with each set before it.

    Put training sets first: a row then reads "of this many test images, that many were seen in training".
    Names of images and patients are compared as they are written; notes say where another spelling would match.

    Args:
        sets: Two or more sets by name.
        per_class: One row a class besides those of all images and of those with a finding; each counts the images
            whose label is 1, and their patients. Classes are those of the later set.

    Returns:
        One row for each pair and class: images of the set, how many are in the other set (`seen`), how many are of
        a patient who has any image there, and how many patients these are. Without groups the latter are None.

    Raises:
        AWBError: Fewer than two sets.
    """
    if len(sets) < 2:
        raise AWBError(f"{len(sets)} set to audit; expected at least two")
    rows, notes = [], []
    for (first, seen_in), (name, table) in itertools.combinations(sets.items(), 2):
        classes = {"all images": np.ones(len(table), dtype=np.bool_), "any finding": table.abnormal}
        if per_class:
            classes |= {each: table.labels[:, k] == 1 for k, each in enumerate(table.classes)}
        images, patients = np.isin(table.images, seen_in.images), _seen_groups(table, seen_in)
        for each, mask in classes.items():
            rows.append((name, first, each, *_count(table, mask, images, patients)))
        notes += _remarks(first, seen_in, name, table)
    return Table(_HEADERS, tuple(rows), tuple(notes))


def require_disjoint(
    train: LabelTable | Mapping[str, LabelTable],
    held_out: LabelTable | Mapping[str, LabelTable],
    *,
    allow: Collection[tuple[str, str]] = (),
) -> None:
    """Refuse to train on images or patients that are held out.

    Args:
        train: What is trained on: one set, then named `train`, or several by name.
        held_out: What is validated or tested on: one set, then named `test`, or several by name.
        allow: Pairs (training set, held-out set) that may overlap all the same.

    Raises:
        AWBError: Sets overlap that are not allowed to, and how far; a set has no groups; an allowed pair names
            sets that are not there.
    """
    trained = {"train": train} if isinstance(train, LabelTable) else train
    tested = {"test": held_out} if isinstance(held_out, LabelTable) else held_out
    for pair in allow:
        _check_pair(pair, trained, tested)
    overlaps = [
        overlap
        for (first, a), (second, b) in itertools.product(trained.items(), tested.items())
        if (first, second) not in allow and (overlap := _overlap(first, a, second, b))
    ]
    if overlaps:
        raise AWBError(
            f"{'; '.join(overlaps)}. Split by patient (awb.study.split_by_group), "
            "or name the pairs that may overlap in allow"
        )


def _overlap(first: str, a: LabelTable, second: str, b: LabelTable) -> str:
    """What two sets share, in words; empty if nothing."""
    shared = np.intersect1d(a.images, b.images)
    patients = np.intersect1d(require_groups(a, first), require_groups(b, second))
    if not len(patients) and not len(shared):
        return ""
    examples = [f"images {shortlist(shared.tolist(), 3)}"] if len(shared) else []
    examples += [f"patients {shortlist(patients.tolist(), 3)}"] if len(patients) else []
    return (
        f"{second!r} shares {len(shared):,} of its {len(b):,} images and {len(patients):,} of its "
        f"{len(np.unique(require_groups(b, second))):,} patients with {first!r} ({'; '.join(examples)})"
    )


def _check_pair(pair: tuple[str, str], trained: Collection[str], tested: Collection[str]) -> None:
    if len(pair) != 2 or isinstance(pair, str):
        raise AWBError(f"allow: {pair!r}; expected pairs (training set, held-out set)")
    for name, names in zip(pair, (trained, tested), strict=True):
        if name not in names:
            raise AWBError(f"allow: no set {name!r} among {', '.join(names)}{did_you_mean(name, names)}")


def _count(
    table: LabelTable,
    mask: npt.NDArray[np.bool_],
    images: npt.NDArray[np.bool_],
    patients: npt.NDArray[np.bool_] | None,
) -> tuple[int | float | None, ...]:
    total, seen = int(mask.sum()), int((mask & images).sum())
    counted: tuple[int | float | None, ...] = (total, seen, _share(seen, total))
    if patients is None or table.groups is None:
        return (*counted, None, None, None, None, None)
    of_seen = int((mask & patients).sum())
    people, seen_people = len(np.unique(table.groups[mask])), len(np.unique(table.groups[mask & patients]))
    return (*counted, of_seen, _share(of_seen, total), people, seen_people, _share(seen_people, people))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _seen_groups(table: LabelTable, other: LabelTable) -> npt.NDArray[np.bool_] | None:
    if table.groups is None or other.groups is None:
        return None
    return np.isin(table.groups, other.groups)


def _remarks(first: str, a: LabelTable, second: str, b: LabelTable) -> list[str]:
    """What the counts of a pair cannot say: names that would match if written alike, patients not compared."""
    notes = [_lookalikes(f"images of {second} and {first}", a.images, b.images, _file_stem)]
    if a.groups is None or b.groups is None:
        notes.append(f"the patients of {second} and {first} were not compared: no groups were given")
    else:
        notes.append(_lookalikes(f"patients of {second} and {first}", a.groups, b.groups, _without_zeros))
    return [note for note in notes if note]


def _lookalikes(what: str, a: npt.NDArray[np.str_], b: npt.NDArray[np.str_], spelling: Callable[[str], str]) -> str:
    ours, theirs = set(a.tolist()), set(b.tolist())
    alike = set(map(spelling, ours - theirs)) & set(map(spelling, theirs - ours))
    if not alike:
        return ""
    return f"{len(alike):,} more {what} may be the same, written differently: {shortlist(sorted(alike), 3)}"


def _file_stem(name: str) -> str:
    return PurePath(name).stem


def _without_zeros(name: str) -> str:
    return name.lstrip("0") or "0"
