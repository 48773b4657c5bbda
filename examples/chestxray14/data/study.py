"""What a recipe trains and tests on: labels, images and a split, joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from awb import AWBError
from awb.study import LabelTable, Split, TrainingStage, require_disjoint
from awb.study.ages import years
from awb.study.names import is_nobody
from examples.chestxray14.data import splits
from examples.chestxray14.data.images import find_nih_file, read_table
from examples.chestxray14.data.nih import FINDINGS, read_data_entry, read_list
from examples.chestxray14.data.origin import SIGNATURE, Origin, origin_of
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.recipes.schema import Recipe, SplitSettings, StageSettings

IMAGE, PATIENT = "image", "patient"  # columns of the labels that `evaluate` writes


def synthetic_note(synthetic: bool) -> str:
    """What any output with figures begins with if its images are phantoms; nothing else."""
    return "SYNTHETIC phantoms, no figure has a medical meaning; " if synthetic else ""


@dataclass(frozen=True)
class Study:
    """Labels, images and a split.

    Attributes:
        table: Labels of all images.
        store: Their pixels.
        split: Its sets are named as in `splits.py`.
        origin: Whose images they are.
    """

    table: LabelTable
    store: ImageStore
    split: Split
    origin: Origin

    @property
    def synthetic(self) -> bool:
        return self.origin == "phantoms"

    @cached_property
    def labels_checksum(self) -> str:
        """SHA-256 of the labels of the split's images, in their order."""
        return self.table.take(np.isin(self.table.images, list(self.split.groups))).checksum

    @cached_property
    def sets(self) -> dict[str, LabelTable]:
        return self.split.tables(self.table)

    def train(self, stage: TrainingStage) -> LabelTable:
        return self.sets[f"{sets_of(stage)}/train"]

    def validation(self, stage: TrainingStage) -> LabelTable:
        return self.sets[f"{sets_of(stage)}/validation"]

    @property
    def test_name(self) -> str:
        """The one test set, or the report's of its second stage, on which its figures are."""
        return "test" if "test" in self.sets else "stage2/test"

    @property
    def test(self) -> LabelTable:
        return self.sets[self.test_name]

    def require_disjoint(self, recipe: Recipe) -> None:
        """Refuse sets that overlap where the recipe does not allow it by name.

        Raises:
            AWBError: They do, or the recipe allows a pair that it does not use.
        """
        used = list(dict.fromkeys(sets_of(stage) for stage in recipe.schedule().stages))
        held_out = [f"{name}/validation" for name in used] + [self.test_name]
        require_disjoint(
            {f"{name}/train": self.sets[f"{name}/train"] for name in used},
            {name: self.sets[name] for name in held_out},
            allow=recipe.data.split.allow_overlap,
        )

    def headline(self) -> str:
        """Which split, test set and findings of one's own, and that phantoms are phantoms: the first line of output."""
        assert self.test.groups is not None
        patients = len(np.unique(self.test.groups))
        return (
            f"{synthetic_note(self.synthetic)}split {self.split.name}, sha256 {self.split.checksum[:12]}…; "
            f"test set {self.test_name}: {len(self.test):,} images of {patients:,} patients"
        ) + ("" if self.table.classes == FINDINGS else f"; findings {', '.join(self.table.classes)}")


def load_study(
    folder: str | Path,
    store: str | Path,
    settings: SplitSettings,
    *,
    table: str | Path | None = None,
    lists: Sequence[str | Path] | None = None,
) -> Study:
    """Read labels and a store, and split them as a recipe says.

    Args:
        folder: Has NIH's `Data_Entry_2017*.csv` and, for the split `official`, its two lists.
        store: What `prepare` wrote.
        settings: The recipe's.
        table: A plain table in place of NIH's.
        lists: Three files of names, for the split `lists`: train, validation, test.

    Raises:
        AWBError: A file is missing or wrong, the store lacks images, `lists` is given for another split, or the test
            set has one patient.
    """
    folder = Path(folder)
    labels, images = read_labelled_images(folder, store, table)
    origin: Origin = (
        "phantoms" if (folder / SIGNATURE).is_file() else origin_of(labels.images.tolist(), labels_are_nih_s=not table)
    )
    study = Study(labels, images, _split(labels, settings, folder, lists), origin)
    if len(np.unique(study.test.groups)) < 2:  # type: ignore[arg-type]
        raise AWBError(f"the test set has 1 patient ({len(study.test)} images); figures need two, and intervals more")
    return study


def read_labelled_images(folder: Path, store: str | Path, table: str | Path | None) -> tuple[LabelTable, ImageStore]:
    """What any study of them starts from.

    Raises:
        AWBError: A file is missing or wrong, or the store lacks images.
    """
    labels = read_table(table) if table else read_data_entry(find_nih_file(folder, "Data_Entry_2017*.csv"))
    labels = _with_ages(labels)
    images = ImageStore.open(store)
    images.require(labels.images)
    return labels, images


@dataclass(frozen=True)
class StudySource:
    """Where studies are read from: `load_study` but for the split, which is a recipe's."""

    folder: Path
    store: Path
    table: Path | None = None
    lists: tuple[Path, ...] | None = None

    def require(self) -> None:
        """Refuse what is missing or damaged whatever the recipe, before any begins.

        Raises:
            AWBError: As `read_labelled_images`, or pixels of the store are not those that were decoded.
        """
        _, images = read_labelled_images(self.folder, self.store, self.table)
        images.verify()

    def study(self, recipe: Recipe) -> Study:
        """The study of a recipe; those of one split are read once. Three lists are used by the split `lists` alone."""
        return _load(self, recipe.data.split)


@lru_cache(maxsize=4)
def _load(source: StudySource, settings: SplitSettings) -> Study:
    lists = source.lists if settings.name == "lists" else None
    return load_study(source.folder, source.store, settings, table=source.table, lists=lists)


def sets_of(stage: TrainingStage | StageSettings) -> str:
    """The sets of `splits.py` that a stage trains and validates on: stage1 are those of images with a finding."""
    return "stage1" if stage.samples == "abnormal" else "stage2"


def _with_ages(table: LabelTable) -> LabelTable:
    """Ages as years, empty where they are not known; now, and not when a training has ended: subgroups are of them.

    Raises:
        AWBError: An age is none.
    """
    if "age" not in table.columns:
        return table
    ages = []
    for image, age in zip(table.images.tolist(), table.columns["age"].tolist(), strict=True):
        try:
            ages.append("" if is_nobody(age) else f"{years(age):g}")
        except AWBError as error:
            raise AWBError(f"image {image}: {error}, or nothing where it is not known") from None
    return replace(table, columns={**table.columns, "age": np.array(ages, dtype=np.str_)})


def _split(table: LabelTable, settings: SplitSettings, folder: Path, lists: Sequence[str | Path] | None) -> Split:
    if (lists is not None) != (settings.name == "lists"):
        raise AWBError(
            f"split {settings.name}: three files of names (--lists) belong to the split `lists`, and only it"
        )
    if lists is not None:
        train, validation, test = (_listed(path, table) for path in lists)
        return splits.lists(table, train, validation, test)
    if settings.name == "official":
        patterns = ("train_val_list.txt", "test_list.txt")
        names = [_listed(find_nih_file(folder, pattern), table) for pattern in patterns]
        return splits.official(table, names[0], names[1], settings.seed)
    return splits.report(table) if settings.name == "report" else splits.nested(table, settings.seed)


def _listed(path: str | Path, table: LabelTable) -> list[str]:
    """The images that a list names, all of which the table has."""
    names = read_list(path)
    try:
        table.find(names)
    except AWBError as error:
        raise AWBError(f"{path}: {error}") from None
    return names
