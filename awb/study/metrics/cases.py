"""Checked labels, predictions and groups of a metric; each error names the class and the row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError, shortlist
from awb.study.argument_names import argument_with
from awb.study.array_types import Bools, Floats, Indices
from awb.study.names import is_missing, patient_key, require_one_spelling

Kind = Literal["scores", "probs", "logits"]
Undefined = Literal["raise", "skip"]


@dataclass(frozen=True, eq=False)
class ClassCases:
    """Images of one class whose label is known.

    Attributes:
        name: Name of the class.
        y_true: True where the label is 1, (k,).
        values: Scores, probabilities or logits, (k,).
        rows: Row of each image among all n images, (k,).
    """

    name: str
    y_true: Bools
    values: Floats
    rows: Indices

    @property
    def missing(self) -> str | None:
        """Reason why ranking metrics are undefined: `no positive`, `no negative`, `no known label`; else None."""
        if len(self.y_true) == 0:
            return "no known label"
        if self.y_true.all():
            return "no negative"
        return None if self.y_true.any() else "no positive"


@dataclass(frozen=True, eq=False)
class Cases:
    """Checked labels and predictions of n images for C classes. Iterating gives a `ClassCases` for each class.

    Attributes:
        y_true: Labels (n, C): 0, 1 or NaN.
        values: Scores, probabilities or logits (n, C), all finite.
        classes: C names.
    """

    y_true: Floats
    values: Floats
    classes: tuple[str, ...]

    def of_classes(self, use: Bools) -> Cases:
        """The same images for some classes, given as a mask (C,)."""
        names = tuple(name for name, keep in zip(self.classes, use, strict=True) if keep)
        return self if use.all() else Cases(self.y_true[:, use], self.values[:, use], names)

    def __iter__(self) -> Iterator[ClassCases]:
        for c, name in enumerate(self.classes):
            rows = np.flatnonzero(~np.isnan(self.y_true[:, c]))
            yield ClassCases(name, self.y_true[rows, c] == 1, self.values[rows, c], rows)


def check_cases(
    y_true: npt.ArrayLike, values: npt.ArrayLike, classes: Sequence[str] | None = None, *, kind: Kind = "scores"
) -> Cases:
    """Check labels and predictions; return both as float64 arrays (n, C).

    Args:
        y_true: Labels (n, C); an array or a tensor.
        values: Predictions of the same shape.
        classes: C names; by default `class 0`, `class 1`, ….
        kind: `scores`, `logits`, or `probs`, which must lie in 0–1.

    Raises:
        AWBError: Shapes disagree, no images, a label other than 0, 1 and NaN, a prediction that is not finite or
            not a probability, a wrong number of names, or a name given twice.
    """
    truth, predictions = _columns(y_true, "y_true"), _columns(values, kind)
    if truth.shape != predictions.shape:
        raise AWBError(
            f"y_true is {_shape(truth)} and {kind} {_shape(predictions)} (images × classes); expected the same shape"
        )
    if truth.size == 0:
        raise AWBError(f"y_true is {_shape(truth)} (images × classes): there is nothing to evaluate")
    names = _names(classes, truth.shape[1])
    _refuse(~(np.isnan(truth) | (truth == 0) | (truth == 1)), truth, names, "label", "0, 1 or NaN (unknown)")
    _refuse(~np.isfinite(predictions), predictions, names, kind, "a finite number")
    if kind == "probs":
        hint = "a probability in 0–1; if these are logits, apply a sigmoid first"
        _refuse((predictions < 0) | (predictions > 1), predictions, names, kind, hint)
    return Cases(truth, predictions, names)


def check_groups(groups: Any) -> Indices:
    """Check the group of each image; return it as a number from 0, (n,).

    Raises:
        AWBError: Not one axis, an image without a group, a group written in more than one way (`13` and
            `13.0`), or fewer than two groups.
    """
    given = np.asarray(_on_cpu(groups))
    if given.ndim != 1:
        raise AWBError(f"groups have shape {given.shape}; expected one axis, one group (patient) an image")
    unknown = [row for row, group in enumerate(given.tolist()) if is_missing(group)]
    if unknown:
        raise AWBError(f"{len(unknown):,} images have no group, the first in row {unknown[0]}; every image needs one")
    names, numbers = np.unique(given.astype(np.str_) if given.dtype == object else given, return_inverse=True)
    if names.dtype.kind == "U":
        require_one_spelling(names.tolist(), patient_key, "groups (patients)")
    if len(names) < 2:
        raise AWBError(f"{len(given):,} images, all of one group; an interval needs at least two groups (patients)")
    return numbers


def require_one_group_per_image(groups: Indices, n: int) -> None:
    """Refuse groups whose number is not that of the images.

    Raises:
        AWBError: There are not n groups.
    """
    if len(groups) != n:
        raise AWBError(f"{n:,} images, but groups (patients) of {len(groups):,}; expected one per image")


def require_both_labels(cases: Cases, undefined: Undefined, *, what: str) -> None:
    """Refuse a class with only one label, unless the caller asked to skip it.

    Raises:
        AWBError: Such a class; or none is left; or `undefined` is neither `raise` nor `skip`.
    """
    if undefined not in ("raise", "skip"):
        raise AWBError(f"undefined={undefined!r}; expected 'raise' or 'skip'")
    missing = [f"{known.name} ({known.missing})" for known in cases if known.missing]
    if missing and (undefined == "raise" or len(missing) == len(cases.classes)):
        hint = f"; {argument_with('undefined', 'skip')} leaves such classes out" if undefined == "raise" else ""
        raise AWBError(f"{what} is not defined where there is one label only: {shortlist(missing)}{hint}")


def _columns(given: Any, name: str) -> Floats:
    try:
        array = np.asarray(_on_cpu(given), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise AWBError(f"{name} cannot be read as numbers: {error}") from error
    if array.ndim not in (1, 2):
        raise AWBError(f"{name} has shape {array.shape}; expected (images, classes), or (images,) for one class")
    return array[:, None] if array.ndim == 1 else array


def _on_cpu(given: Any) -> Any:
    """Values of a tensor as numpy can read them: detached, on the CPU, and in float64, since numpy has no bfloat16."""
    if not hasattr(given, "detach"):
        return given
    tensor = given.detach().cpu()
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy()


def _shape(array: Floats) -> str:
    return f"{array.shape[0]:,}×{array.shape[1]}"


def _names(classes: Sequence[str] | None, count: int) -> tuple[str, ...]:
    names = tuple(f"class {c}" for c in range(count)) if classes is None else tuple(map(str, classes))
    if len(names) != count:
        raise AWBError(f"{len(names)} names for {count} classes: {shortlist(names)}")
    repeated = [repr(name) for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise AWBError(f"class named more than once: {shortlist(repeated)}")
    return names


def _refuse(wrong: Bools, values: Floats, names: tuple[str, ...], what: str, expected: str) -> None:
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        more = f" ({int(wrong.sum()):,} such values)" if wrong.sum() > 1 else ""
        raise AWBError(f"row {row}, class {names[column]!r}: {what} {values[row, column]:g}; expected {expected}{more}")
