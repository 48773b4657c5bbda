"""Tables of ordinary classification with patient-clustered intervals: all classes together, and each by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from awb.errors import shortlist
from awb.study.array_types import Bools
from awb.study.metrics.cases import Undefined, require_both_labels
from awb.study.metrics.class_measures import OVERALL, TITLES, ClassMeasure, averaged_measures, estimate_exclusive
from awb.study.metrics.exclusive_cases import ExclusiveCases, check_exclusive
from awb.study.metrics.intervals import Interval, check_level
from awb.study.metrics.replicates import Replicates, draw_replicates
from awb.study.metrics.table_columns import count_left_out, interval_header, interval_note, or_none
from awb.study.supported import supported_classes, unsupported_note
from awb.table import Table

_EACH: tuple[ClassMeasure, ...] = ("sensitivity", "precision", "auroc")


def evaluate_classes(
    labels: npt.ArrayLike,
    probs: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    n_replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    undefined: Undefined = "raise",
    max_left_out: float = 0.05,
    min_groups: int | None = None,
) -> Table:
    """Table of ordinary classification, of all classes together, with patient-clustered bootstrap intervals.

    Args:
        labels: One-hot labels (n, C); a row with a NaN has no known class, and its image is left out and counted.
        probs: Probabilities (n, C), each row of sum 1.
        groups: Groups (n,).
        classes: C names.
        n_replicates: Number of bootstrap replicates.
        seed: Bootstrap seed.
        level: Confidence level of the intervals.
        undefined: For a class without images: `raise`, or `skip`: means over the classes leave it out.
        max_left_out: Largest share of replicates without an image of a class; with more, a mean over the classes has no
            interval.
        min_groups: Classes that fewer groups have, or have not, are left out of means over the classes, of which there
            are none if fewer than two classes are left; a note names them. Accuracy and kappa count all images.

    Returns:
        One row per measure of `estimate_classes`: accuracy, balanced accuracy, macro F1, Cohen's kappa, macro AUROC;
        value, percentile interval, number of replicates left out. Undefined values are None. There is no interval where
        all replicates are alike, as those of an accuracy of 1 are.

    Raises:
        AWBError: Bad arrays, a row that is not one-hot, an image without a group, or a class without images.

    Examples:
        >>> import numpy as np
        >>> from awb.study import evaluate_classes
        >>> rng = np.random.default_rng(0)
        >>> truth = rng.integers(3, size=300)
        >>> logits = 2 * np.eye(3)[truth] + rng.normal(size=(300, 3))
        >>> probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        >>> table = evaluate_classes(np.eye(3)[truth], probs, range(300), classes=["normal", "viral", "bacterial"])
        >>> [row["measure"] for row in table]
        ['accuracy', 'balanced accuracy', 'macro F1', "Cohen's kappa", 'macro AUROC']
    """
    check_level(level, max_left_out)
    cases, replicates = checked_cases(labels, probs, groups, classes, n_replicates, seed, undefined)
    use, notes = keep_classes(cases, replicates, min_groups)
    averaged = use if use.sum() > 1 else np.zeros_like(use)
    rows, alike = [], []
    for measure in OVERALL:
        found = estimate_exclusive(cases, replicates, measure, averaged)
        (value,), (left_out,), (flat,) = or_none(found.values), count_left_out(found), found.alike
        (interval,) = found.intervals(level=level, max_left_out=max_left_out)
        alike += [TITLES[measure]] * bool(flat)
        rows.append((TITLES[measure], value, None if flat else interval, left_out))
    share = f"{int(use.sum())}" if use.all() else f"{int(use.sum())} of {len(use)}"
    means = f"balanced accuracy, macro F1 and macro AUROC: means over {share} classes of sensitivity, F1 and AUROC"
    if use.sum() < 2:
        means = f"no balanced accuracy, macro F1 or macro AUROC: a mean over {share} classes says too little"
    most = int(cases.counts.argmax())
    always = f"accuracy of always predicting {cases.classes[most]}: {cases.counts[most] / len(cases.rows):.4g}"
    headers = ("measure", "value", f"{100 * level:g} %", "left out")
    about = (count_note(cases), always, interval_note(replicates), means)
    return Table(headers, tuple(rows), (*about, *_alike(alike), *notes))


def evaluate_each_class(
    labels: npt.ArrayLike,
    probs: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    n_replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    undefined: Undefined = "raise",
    max_left_out: float = 0.05,
    min_groups: int | None = None,
) -> Table:
    """Table of ordinary classification, a row per class, with patient-clustered bootstrap intervals.

    Args:
        labels: One-hot labels (n, C); a row with a NaN has no known class, and its image is left out and counted.
        probs: Probabilities (n, C), each row of sum 1.
        groups: Groups (n,).
        classes: C names.
        n_replicates: Number of bootstrap replicates.
        seed: Bootstrap seed.
        level: Confidence level of the intervals.
        undefined: For a class without images: `raise`, or `skip`: its row has no values.
        max_left_out: Largest share of replicates where a value is not defined; with more, it has no interval.
        min_groups: Classes that fewer groups have, or have not, get no row; a note names them.

    Returns:
        One row per class: its images, the groups that have one, the images predicted as it; sensitivity (recall),
        precision, and AUROC against the rest, with percentile intervals, as in `estimate_classes`. Undefined values are
        None, such as the precision of a class that is never predicted.

    Raises:
        AWBError: As in `evaluate_classes`.

    Examples:
        >>> import numpy as np
        >>> from awb.study import evaluate_each_class
        >>> labels = np.eye(2)[[0, 1, 0, 1]]
        >>> names = ["normal", "viral"]
        >>> table = evaluate_each_class(labels, 0.8 * labels + 0.1, range(4), classes=names, n_replicates=50)
        >>> [(row["class"], row["images"], row["sensitivity"], row["precision"]) for row in table]
        [('normal', 2, 1.0, 1.0), ('viral', 2, 1.0, 1.0)]
    """
    check_level(level, max_left_out)
    cases, replicates = checked_cases(labels, probs, groups, classes, n_replicates, seed, undefined)
    kept, notes = keep_classes(cases, replicates, min_groups, undefined_too=True)
    of_class = [np.unique(replicates.groups[cases.rows[cases.truth == c]]) for c in range(len(cases.classes))]
    columns: dict[str, Sequence[object]] = {
        "class": cases.classes,
        "images": cases.counts.tolist(),
        "groups": list(map(len, of_class)),
        "predicted": np.bincount(cases.predicted, minlength=len(cases.classes)).tolist(),
    }
    few: list[str] = []
    alike: list[str] = []
    for measure in _EACH:
        found = estimate_exclusive(cases, replicates, measure)
        intervals: list[Interval | None] = found.intervals(level=level, max_left_out=max_left_out)
        same, left_out = found.alike, count_left_out(found)
        columns[TITLES[measure]] = or_none(found.values)
        columns[interval_header(TITLES[measure], level)] = [
            None if flat else interval for flat, interval in zip(same, intervals, strict=True)
        ]
        for name, use, flat, count in zip(cases.classes, kept, same, left_out, strict=True):
            alike += [f"{name} ({TITLES[measure]})"] * bool(use and flat)
            few += [f"{name} ({TITLES[measure]})"] * bool(use and (count or 0) > max_left_out * n_replicates)
    rows = tuple(row for row, use in zip(zip(*columns.values(), strict=True), kept, strict=True) if use)
    shown = zip(cases.classes, kept, columns["predicted"], strict=True)
    never = [name for name, use, predicted in shown if use and not predicted]
    return Table(tuple(columns), rows, (
        count_note(cases), interval_note(replicates),
        "sensitivity: share of the images of a class that are predicted as it; precision: share of those predicted as "
        "a class that are of it; AUROC: of the class against the rest",
        *([f"never predicted, and without a precision: {shortlist(never)}"] if never else ()),
        *([f"no interval, since too many replicates have no value: {shortlist(few)}"] if few else ()),
        *_alike(alike), *notes,
    ))  # fmt: skip


def keep_classes(
    cases: ExclusiveCases, replicates: Replicates, min_groups: int | None, *, undefined_too: bool = False
) -> tuple[Bools, tuple[str, ...]]:
    """Mask of the classes to keep, (C,), and notes that name the others.

    Args:
        cases: Images whose class is known.
        replicates: Replicates, with the group of each image.
        min_groups: Smallest number of groups that have a class, and that have another; None keeps all classes.
        undefined_too: With `min_groups=None`, keep classes without images as well.
    """
    if min_groups is None:
        use = averaged_measures(cases)
        names = [name for name, keep in zip(cases.classes, use, strict=True) if not keep]
        kept = np.ones_like(use) if undefined_too else use
        return kept, (f"not defined, since all images or none have it: {shortlist(names)}",) if names else ()
    use = supported_classes(cases.one_hot.astype(np.float64), replicates.groups[cases.rows], min_groups)
    names = [name for name, keep in zip(cases.classes, use, strict=True) if not keep]
    return use, (unsupported_note(names, min_groups),) if names else ()


def count_note(cases: ExclusiveCases) -> str:
    """Note on the number of images, and of those left out."""
    unknown = f"; left out, since their class is not known: {cases.n_unknown:,}" if cases.n_unknown else ""
    return f"{len(cases.rows):,} images{unknown}"


def checked_cases(
    labels: npt.ArrayLike,
    probs: npt.ArrayLike,
    groups: npt.ArrayLike,
    classes: Sequence[str] | None,
    n_replicates: int,
    seed: int,
    undefined: Undefined,
    what: str = "a mean over the classes",
) -> tuple[ExclusiveCases, Replicates]:
    """Images whose class is known, and replicates of all images.

    Raises:
        AWBError: As in `evaluate_classes`; of a class without images the message says that `what` is not defined.
    """
    cases = check_exclusive(labels, probs, classes)
    require_both_labels(cases.cases(), undefined, what=what)
    replicates = draw_replicates(groups, n_replicates=n_replicates, seed=seed)
    replicates.require_images(len(cases.rows) + cases.n_unknown)
    return cases, replicates


def _alike(names: Sequence[str]) -> tuple[str, ...]:
    return (f"no interval, since all replicates have the same value: {shortlist(names)}",) if names else ()
