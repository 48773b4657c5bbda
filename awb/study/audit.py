"""Leakage: images and patients shared by sets, and a refusal to train on held-out ones."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Callable, Collection, Mapping

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError, did_you_mean, shortlist
from awb.study.argument_names import argument
from awb.study.array_types import Strings
from awb.study.label_table import LabelTable, require_groups
from awb.study.names import image_key, patient_key
from awb.table import Table

Key = Callable[[str], str]

_HEADERS = (
    "set", "seen in", "images of", "images", "seen", "share", "of seen patients", "share of images",
    "patients", "seen patients", "share of patients",
)  # fmt: skip


def audit_leakage(sets: Mapping[str, LabelTable], *, per_class: bool = True) -> Table:
    """Table of the images and patients that each set shares with each set before it.

    Put training sets first: a row then reads "of this many test images, that many were seen in training". `13`,
    `13.0`, `00013` and `p13` are one patient, and `./a.png` and `A.PNG` one image; notes name what was
    matched across spellings, and images that may be the same in another folder or format.

    Args:
        sets: Two or more sets by name.
        per_class: Add one row per class to the rows of all images and of the images with a finding. It counts the
            images whose label is 1, and their patients. Classes are those of the later set.

    Returns:
        One row per pair and class: images of the set, how many of them are in the other set (`seen`), how many are
        of a patient with any image there, and how many patients these are. Without groups the latter are None.

    Raises:
        AWBError: Fewer than two sets.
    """
    if len(sets) < 2:
        raise AWBError(f"{len(sets)} set to audit; expected at least two")
    rows, notes = [], []
    for (first, seen_in), (name, table) in itertools.combinations(sets.items(), 2):
        classes = {"all images": np.ones(len(table), dtype=np.bool_)}
        if table.classes:
            classes["any finding"] = table.abnormal
        if per_class:
            classes |= {each: table.labels[:, k] == 1 for k, each in enumerate(table.classes)}
        images, patients = _is_in(table.images, seen_in.images, image_key), _seen_groups(table, seen_in)
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
    """Refuse training sets that share images or patients with held-out sets.

    Args:
        train: Training sets by name, or one set, which is then named `train`.
        held_out: Validation and test sets by name, or one set, which is then named `test`.
        allow: Pairs (training set, held-out set) that are allowed to overlap.

    Raises:
        AWBError: Sets overlap that are not allowed to, with the number of shared images and patients; a set has no
            groups; an allowed pair names a set that does not exist.
    """
    trained = {"train": train} if isinstance(train, LabelTable) else train
    tested = {"test": held_out} if isinstance(held_out, LabelTable) else held_out
    for pair in allow:
        _check_pair(pair, trained, tested)
    overlaps = [
        overlap
        for (first, a), (second, b) in itertools.product(trained.items(), tested.items())
        if (first, second) not in allow and (overlap := describe_overlap(first, a, second, b))
    ]
    if overlaps:
        raise AWBError(
            f"{'; '.join(overlaps)}. Split by patient (awb.study.split_by_group), "
            f"or name the pairs that may overlap in {argument('allow')}"
        )


def describe_overlap(first: str, a: LabelTable, second: str, b: LabelTable) -> str:
    """Sentence on the images and patients shared by two sets; empty if there are none.

    Raises:
        AWBError: A set has no groups.
    """
    images = _shared(a.images, b.images, image_key)
    patients = _shared(require_groups(a, first), require_groups(b, second), patient_key)
    if not patients and not images:
        return ""
    examples = [f"{what} {_spelt(found)}" for what, found in (("images", images), ("patients", patients)) if found]
    return (
        f"{second!r} shares {len(images):,} of its {len(b):,} images and {len(patients):,} of its "
        f"{len(np.unique(require_groups(b, second))):,} patients with {first!r} ({'; '.join(examples)})"
    )


def lookalikes(first: str, a: LabelTable, second: str, b: LabelTable) -> list[str]:
    """Notes on images and patients that may be in both sets under different spellings."""
    images = _shared(a.images, b.images, image_key)
    notes = [_written_differently(f"images of {second} and {first}", images)]
    known = {other for _, other in images}
    stems = _shared(a.images, b.images, _file_stem)
    if alike := sorted(_file_stem(other) for _, other in stems if other not in known):
        notes.append(
            f"{len(alike):,} more images of {second} and {first} may be the same, written differently: "
            f"{shortlist(alike, 3)}"
        )
    if a.groups is not None and b.groups is not None:
        shared = _shared(a.groups, b.groups, patient_key)
        notes.append(_written_differently(f"patients of {second} and {first}", shared))
    return [note for note in notes if note]


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
    return _is_in(table.groups, other.groups, patient_key)


def _is_in(names: Strings, others: Strings, key: Key) -> npt.NDArray[np.bool_]:
    """Mask of the names that are among the others, in any spelling."""
    known = set(map(key, others.tolist()))
    return np.array([key(name) in known for name in names.tolist()], dtype=np.bool_)


def _shared(ours: Strings, theirs: Strings, key: Key) -> list[tuple[str, str]]:
    """Names in both sets, as pairs of spellings (ours, theirs), in the order of theirs."""
    spelt = {key(name): name for name in ours.tolist()}
    names = ((key(name), name) for name in sorted(set(theirs.tolist())))
    return [(spelt[same], name) for same, name in names if same in spelt]


def _spelt(shared: list[tuple[str, str]]) -> str:
    """First few names, with both spellings where they differ."""
    return shortlist((two if one == two else f"{two} = {one}" for one, two in shared), 3)


def _written_differently(what: str, shared: list[tuple[str, str]]) -> str:
    different = [(one, two) for one, two in shared if one != two]
    return f"{len(different):,} {what} are the same, written differently: {_spelt(different)}" if different else ""


def _remarks(first: str, a: LabelTable, second: str, b: LabelTable) -> list[str]:
    """Notes on a pair of sets, shown beside the counts."""
    notes = lookalikes(first, a, second, b)
    if a.groups is None or b.groups is None:
        notes.append(f"the patients of {second} and {first} were not compared: no groups were given")
    return notes


def _file_stem(name: str) -> str:
    return posixpath.splitext(posixpath.basename(image_key(name)))[0]
