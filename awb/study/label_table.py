"""Labels of a data set as plain numpy: one row per image, one column per class, NaN where unknown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError, did_you_mean, shortlist
from awb.study.argument_names import argument
from awb.study.array_types import Bools, Floats, Indices, Strings
from awb.study.exclusive import not_one_hot, require_one_hot
from awb.study.files import write_csv
from awb.study.names import is_missing, patient_key, require_distinct, require_one_spelling, same_path
from awb.study.no_finding import findings_among, require_no_contradiction
from awb.study.supported import supported_classes


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Labels of n images for C classes, with the group of each image and other columns.

    Attributes:
        images: Names of the images, (n,), each once.
        classes: Names of the C classes.
        labels: Labels, float64 (n, C): 0, 1 or NaN (unknown).
        groups: Group of each image (usually the patient), (n,), spelled as in its file; None if unknown. Groups are
            never split across sets.
        columns: Other columns by name, (n,) strings each: view, sex, age, …

    Raises:
        AWBError: An image or a class is named twice, shapes disagree, or a label is not 0, 1 or NaN; a group is
            missing (empty, NaN, `<NA>`) or spelled in more than one way (`13` and `13.0`); an image has both a finding
            and a class such as `No Finding`.
    """

    images: Strings
    classes: tuple[str, ...]
    labels: Floats
    groups: Strings | None = None
    columns: Mapping[str, Strings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", np.asarray(self.images, dtype=np.str_))
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "labels", np.asarray(self.labels, dtype=np.float64))
        if self.groups is not None:
            object.__setattr__(self, "groups", np.asarray(self.groups, dtype=np.str_))
        columns = {name: np.asarray(values, dtype=np.str_) for name, values in self.columns.items()}
        object.__setattr__(self, "columns", columns)
        self._check()

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: npt.ArrayLike) -> LabelTable:
        """Table of some images.

        Args:
            rows: Indices in the order wanted, or a boolean mask (n,).

        Raises:
            AWBError: The mask has another length.
        """
        chosen = np.asarray(rows)
        if chosen.dtype == np.bool_ and chosen.shape != self.images.shape:
            raise AWBError(f"a mask of shape {chosen.shape} for a table of {len(self):,} images")
        if chosen.size == 0:
            chosen = np.zeros(0, dtype=np.intp)
        groups = None if self.groups is None else self.groups[chosen]
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return LabelTable(self.images[chosen], self.classes, self.labels[chosen], groups, columns)

    def classes_of(self, classes: Iterable[str] | Bools) -> LabelTable:
        """Table of some classes, with the same images, groups and other columns.

        Args:
            classes: Names in the order wanted, or a boolean mask (C,), such as `supported(5)` or `findings`.

        Raises:
            AWBError: The table has no such class, or the mask has another length.
        """
        if isinstance(classes, np.ndarray) and classes.dtype == np.bool_:
            if classes.shape != (len(self.classes),):
                raise AWBError(f"a mask of shape {classes.shape} for a table of {len(self.classes)} classes")
            chosen = np.flatnonzero(classes).tolist()
        else:
            chosen = [self._class_index(str(name)) for name in classes]
        names = tuple(self.classes[c] for c in chosen)
        return LabelTable(self.images, names, self.labels[:, chosen], self.groups, self.columns)

    def supported(self, min_groups: int) -> Bools:
        """Mask of the classes, (C,), that at least `min_groups` groups have and at least as many do not.

        With fewer, an interval says little: if 5 patients have a finding, 1 of 150 bootstrap replicates has none of
        them. `evaluate`, `compare` and `evaluate_subgroups` leave the others out by themselves, given `min_groups`.

        Args:
            min_groups: Smallest number of groups (patients) on either side, at least 1. With 1, the classes that
                have both labels in the table.

        Raises:
            AWBError: The table has no groups, or `min_groups` is below 1.

        Examples:
            >>> from awb.study import LabelTable
            >>> labels = [[1, 0], [0, 0], [0, 1], [1, 0]]
            >>> table = LabelTable(["a", "b", "c", "d"], ("Mass", "Hernia"), labels, ["p1", "p2", "p3", "p4"])
            >>> table.supported(2).tolist()
            [True, False]
            >>> table.classes_of(table.supported(2)).classes
            ('Mass',)
        """
        return supported_classes(self.labels, require_groups(self), min_groups)

    def find(self, images: Iterable[str]) -> Indices:
        """Rows of the given images, in their order.

        Raises:
            AWBError: An image is not in the table.
        """
        row = {name: i for i, name in enumerate(self.images.tolist())}
        names = list(map(str, images))
        missing = [name for name in names if name not in row]
        if missing:
            raise AWBError(f"{len(missing):,} images are not in the table: {shortlist(missing, 4)}")
        return np.array([row[name] for name in names], dtype=np.intp)

    @property
    def abnormal(self) -> Bools:
        """Mask of the images with a finding, (n,): at least one label is 1, not counting `No Finding` and the like."""
        return np.asarray((self.labels[:, self.findings] == 1).any(axis=1))

    @property
    def findings(self) -> Bools:
        """Mask of the classes that are findings, (C,): all but `No Finding`, `Normal`, `healthy` and the like."""
        return findings_among(self.classes)

    @property
    def exclusive(self) -> bool:
        """True if there are several classes, of which each image has exactly one, or is not known (a NaN)."""
        return len(self.classes) > 1 and not not_one_hot(self.labels).any()

    def require_exclusive(self, name: str = "the table") -> None:
        """Refuse a table in which an image has several classes, or none: `CrossEntropyLoss` and the like need one.

        Args:
            name: What the table is, for the message.

        Raises:
            AWBError: The table is not `exclusive`; the message names the first such image and the number of them.

        Examples:
            >>> from awb.study import LabelTable
            >>> table = LabelTable(["a", "b"], ("normal", "viral"), [[1, 0], [0, 1]])
            >>> table.require_exclusive()
            >>> table.exclusive
            True
        """
        require_one_hot(self.images, self.classes, self.labels, self.columns, name)

    @property
    def checksum(self) -> str:
        """SHA-256 of images, groups, classes and labels, in their order, without the other columns."""
        known = np.where(np.isnan(self.labels), -1, self.labels).astype(np.int8)
        groups = None if self.groups is None else self.groups.tolist()
        content = json.dumps([self.images.tolist(), groups, self.classes])
        return hashlib.sha256(content.encode() + known.tobytes()).hexdigest()

    def save(
        self,
        path: str | Path,
        *,
        image: str = "image",
        group: str = "group",
        columns: Iterable[str] | None = None,
    ) -> None:
        """Write the table as a CSV file (or CSV.gz) that `read_labels` reads back.

        One row per image: its name, its group if the table has groups, the other columns, and one label per class:
        0, 1, or empty if it is unknown. A file of that name is replaced in one step; it stays if writing fails.

        Args:
            path: The file.
            image: Header of the column of image names.
            group: Header of the column of groups.
            columns: Names of the other columns to write, in this order; all by default.

        Raises:
            AWBError: No such column, two columns of one name, no images, a name or cell that `read_labels` would read
                differently (white space at its ends), or a path that cannot be written to.

        Examples:
            >>> from awb.study import LabelTable, read_labels
            >>> table = LabelTable(["a", "b"], ("Mass",), [[1], [float("nan")]], ["p1", "p2"])
            >>> table.save("labels.csv", group="patient")
            >>> read_labels("labels.csv", group="patient", classes=table.classes).checksum == table.checksum
            True
        """
        others = list(self.columns if columns is None else columns)
        for name in others:
            if name not in self.columns:
                near = did_you_mean(name, self.columns)
                raise AWBError(f"no column {name!r}{near}; there are {shortlist(self.columns, 20) or 'none'}")
        aside = [self.images, *([] if self.groups is None else [self.groups]), *(self.columns[name] for name in others)]
        labels = [["" if label != label else f"{label:g}" for label in row] for row in self.labels.tolist()]
        names = zip(*(values.tolist() for values in aside), strict=True)
        header = [image, *([] if self.groups is None else [group]), *others, *self.classes]
        write_csv(path, header, ([*row, *cells] for row, cells in zip(names, labels, strict=True)))

    def _class_index(self, name: str) -> int:
        if name not in self.classes:
            near = did_you_mean(name, self.classes)
            raise AWBError(f"no class {name!r}{near}; there are {shortlist(self.classes, 20) or 'none'}")
        return self.classes.index(name)

    def _check(self) -> None:
        n = len(self.images)
        require_distinct(self.images.tolist(), "image")
        require_distinct(self.classes, "class")
        if self.images.ndim != 1:
            raise AWBError(f"images have shape {self.images.shape}; expected one axis")
        if self.labels.shape != (n, len(self.classes)):
            raise AWBError(
                f"labels have shape {self.labels.shape}; expected {(n, len(self.classes))}: "
                f"{n:,} images, {len(self.classes)} classes"
            )
        aside = {"groups": self.groups, **{f"column {name!r}": values for name, values in self.columns.items()}}
        for name, values in aside.items():
            if values is not None and values.shape != (n,):
                raise AWBError(f"{name}: shape {values.shape}; expected {(n,)}, one value per image")
        self._check_names()
        wrong = ~(np.isnan(self.labels) | (self.labels == 0) | (self.labels == 1))
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise AWBError(
                f"image {str(self.images[row])!r}, class {self.classes[column]!r}: label {self.labels[row, column]:g}; "
                "expected 0, 1 or NaN (unknown)"
            )
        for column in np.flatnonzero(~self.findings):
            absent = self.labels[:, column] == 1
            require_no_contradiction(self.classes[column], absent, self.classes, self.labels, self.images.tolist())

    def _check_names(self) -> None:
        images = self.images.tolist()
        if "" in images:
            raise AWBError(f"row {images.index('') + 1}: no image; expected its name")
        require_one_spelling((name for name in images if "/" in name or "\\" in name), same_path, "images")
        if self.groups is None:
            return
        names = dict.fromkeys(self.groups.tolist())
        if nobody := [name for name in names if is_missing(name)]:
            image = str(self.images[self.groups == nobody[0]][0])
            raise AWBError(f"image {image!r} has no group (it is {nobody[0]!r}); every image needs one")
        require_one_spelling(names, patient_key, "groups (patients)")


def require_groups(table: LabelTable, name: str = "the table") -> Strings:
    """Groups of a table.

    Raises:
        AWBError: The table has no groups.
    """
    if table.groups is None:
        raise AWBError(f"{name} has no groups (patients): name their column with {argument('group')}")
    return table.groups
