"""Splits of a data set: named sets of images, saved as a small file with a checksum."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError, shortlist
from awb.study.files import open_text
from awb.study.label_table import LabelTable, require_groups
from awb.table import Table

_HEADER = ("set", "image", "group")
_MARK = "# awb split "


@dataclass(frozen=True)
class Split:
    """Named sets of images. Sets may overlap: `audit_leakage` counts shared images, `require_disjoint` refuses them.

    Images within a set are sorted by name.

    Attributes:
        name: Name of the split.
        sets: Names of the images of each set, by the name of the set.
        groups: Group (patient) of each image.

    Raises:
        AWBError: A set is empty or names an image twice, or an image has no group.
    """

    name: str
    sets: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, str]

    def __post_init__(self) -> None:
        sets = {name: tuple(sorted(map(str, images))) for name, images in self.sets.items()}
        for name, images in sets.items():
            if not images:
                raise AWBError(f"split {self.name!r}: set {name!r} is empty")
            twice = {a for a, b in itertools.pairwise(images) if a == b}
            if twice:
                raise AWBError(f"split {self.name!r}: set {name!r} names {shortlist(sorted(twice), 4)} twice")
        used = set().union(*sets.values())
        missing = used - self.groups.keys()
        if missing:
            raise AWBError(f"split {self.name!r}: {shortlist(sorted(missing), 4)} have no group")
        object.__setattr__(self, "sets", sets)
        object.__setattr__(self, "groups", {image: str(self.groups[image]) for image in sorted(used)})

    @classmethod
    def from_rows(cls, name: str, table: LabelTable, sets: Mapping[str, npt.ArrayLike]) -> Split:
        """Make a split from rows of a table: indices or a mask for each set.

        Raises:
            AWBError: The table has no groups.
        """
        groups = dict(zip(table.images.tolist(), require_groups(table).tolist(), strict=True))
        return cls(name, {key: tuple(table.take(rows).images.tolist()) for key, rows in sets.items()}, groups)

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of name, sets and groups, for the record of a run."""
        return hashlib.sha256(f"{self.name}\n{self._body()}".encode()).hexdigest()

    def tables(self, table: LabelTable) -> dict[str, LabelTable]:
        """Labels of each set, with rows in the order of the table.

        Raises:
            AWBError: The table lacks an image of the split.
        """
        return {name: table.take(np.sort(table.find(images))) for name, images in self.sets.items()}

    def save(self, path: str | Path) -> None:
        """Write CSV with one row per set and image, below a first line with the checksum; gzipped if it ends in .gz."""
        data = f"{_MARK}sha256={self.checksum} name={self.name}\n{self._body()}".encode()
        path = Path(path)
        path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)

    @classmethod
    def load(cls, path: str | Path) -> Split:
        """Read a file written by `save`.

        Raises:
            AWBError: No such file, not a split, or content that differs from the checksum.
        """
        with open_text(Path(path)) as file:
            mark, _, name = file.readline().rstrip("\r\n").removeprefix(_MARK).partition(" name=")
            rows = list(csv.reader(file))
        kind, _, checksum = mark.partition("=")
        if kind != "sha256" or not rows or tuple(rows[0]) != _HEADER or any(len(row) != 3 for row in rows):
            raise AWBError(f"{path} is not a split written by Split.save")
        sets: dict[str, list[str]] = {}
        groups: dict[str, str] = {}
        for key, image, group in rows[1:]:
            sets.setdefault(key, []).append(image)
            groups[image] = group
        split = cls(name, {key: tuple(images) for key, images in sets.items()}, groups)
        if split.checksum != checksum:
            raise AWBError(
                f"{path} was changed after it was written: its checksum is {split.checksum[:12]}…, "
                f"its first line says {checksum[:12]}…"
            )
        return split

    def __str__(self) -> str:
        rows = [(key, len(images), len({self.groups[i] for i in images})) for key, images in self.sets.items()]
        return str(Table(("set", "images", "groups"), tuple(rows), (f"{self.name}, sha256 {self.checksum[:12]}…",)))

    def _body(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_HEADER)
        for key, images in self.sets.items():
            writer.writerows((key, image, self.groups[image]) for image in images)
        return text.getvalue()


def nested_split(split: Split, table: LabelTable, stages: Mapping[str, npt.ArrayLike], held_out: str = "test") -> Split:
    """Give each training stage a subset of the sets of one split: no stage trains on another's held-out images.

    Args:
        split: Sets without a shared group, as `split_by_group` makes them.
        table: Labels of the images.
        stages: Mask of the images of each stage, (n,), as `TrainingStage.rows` gives it.
        held_out: Name of the set that is the same for all stages.

    Returns:
        Split with a set `stage/set` for each stage and each other set, and the held-out set.

    Raises:
        AWBError: There is no such set, or a stage has no image in a set.
    """
    if held_out not in split.sets:
        raise AWBError(f"split {split.name!r} has no set {held_out!r}: there are {', '.join(split.sets)}")
    sets = {}
    for stage, mask in stages.items():
        used = set(table.take(np.asarray(mask, dtype=np.bool_)).images.tolist())
        for name, images in split.sets.items():
            if name != held_out:
                sets[f"{stage}/{name}"] = tuple(image for image in images if image in used)
    sets[held_out] = split.sets[held_out]
    return Split(split.name, sets, split.groups)
