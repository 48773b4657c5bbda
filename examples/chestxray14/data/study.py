"""A study: the labels, images and split on which a recipe trains and tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from awb import AWBError
from awb.errors import shortlist
from awb.study import LabelTable, Split, require_disjoint
from awb.study.argument_names import named_as
from examples.chestxray14.data.columns import Columns
from examples.chestxray14.data.labels import ages_in_years, has_no_patients, read_study_labels
from examples.chestxray14.data.nih import FINDINGS
from examples.chestxray14.data.origin import SIGNATURE, Origin, origin_of
from examples.chestxray14.data.splits import Stage, choose_test_set, make_split, set_name, set_names
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.recipes.data_settings import SplitSettings
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.stage_settings import CrossEntropySettings, Task


def synthetic_note(synthetic: bool) -> str:
    """First words of any output with results if its images are phantoms, else empty."""
    return "SYNTHETIC phantoms, no figure has a medical meaning; " if synthetic else ""


@dataclass(frozen=True)
class Study:
    """Labels, images and a split.

    Attributes:
        table: Labels of all images.
        store: Image store with their pixels.
        split: Split with sets named as in `splits.py`.
        origin: Data source of the images.
    """

    table: LabelTable
    store: ImageStore
    split: Split
    origin: Origin

    @property
    def synthetic(self) -> bool:
        return self.origin == "phantoms"

    @cached_property
    def used(self) -> LabelTable:
        """Labels of the split's images, in the order of the table."""
        return self.table.take(np.isin(self.table.images, list(self.split.groups)))

    @cached_property
    def labels_checksum(self) -> str:
        """SHA-256 of the labels of the split's images, in the order of the table."""
        return self.used.checksum

    @cached_property
    def sets(self) -> dict[str, LabelTable]:
        """Labels of each set of the split, by name."""
        return self.split.tables(self.table)

    def train(self, stage: Stage) -> LabelTable:
        """Labels of the images on which a stage trains."""
        return self.sets[set_name(stage, "train")]

    def validation(self, stage: Stage) -> LabelTable:
        """Labels of the images on which a stage validates."""
        return self.sets[set_name(stage, "validation")]

    @property
    def test_name(self) -> str:
        return choose_test_set(self.sets)

    @property
    def test(self) -> LabelTable:
        """Labels of the images to test on."""
        return self.sets[self.test_name]

    def require_disjoint(self, recipe: Recipe) -> None:
        """Refuse sets that overlap, unless the recipe names the pair.

        Raises:
            AWBError: Sets overlap, or the recipe allows a pair that it does not use.
        """
        train, validation = (set_names(recipe.stages, role) for role in ("train", "validation"))
        with named_as({"allow": "data.split.allow_overlap"}):
            require_disjoint(
                {name: self.sets[name] for name in train},
                {name: self.sets[name] for name in [*validation, self.test_name]},
                allow=recipe.data.split.allow_overlap,
            )

    def require_labels(self, recipe: Recipe) -> None:
        """Refuse labels that a recipe's loss cannot learn: `cross_entropy` needs exactly one class per image.

        Raises:
            AWBError: An image has several classes or none; the weights are of other classes; or a stage trains on
                abnormal images only, and there is no class such as `normal` that they could lack.
        """
        if recipe.task != "classes":
            return
        self.used.require_exclusive(f"{recipe.name} trains with cross_entropy")
        for weight in (stage.loss.weight for stage in recipe.stages if isinstance(stage.loss, CrossEntropySettings)):
            if weight is not None and len(weight) != len(self.table.classes):
                raise AWBError(
                    f"{recipe.name}: the loss has {len(weight)} weights; expected one for each of "
                    f"{len(self.table.classes)} classes: {shortlist(self.table.classes)}"
                )
        abnormal = [stage.name for stage in recipe.stages if stage.samples == "abnormal"]
        if abnormal and self.table.findings.all():
            raise AWBError(
                f"{recipe.name}: the stage {abnormal[0]} trains on abnormal images, but no class among "
                f"{shortlist(self.table.classes)} means that nothing was found; expected samples: all"
            )

    def headline(self, task: Task = "findings") -> str:
        """First line of any output: the split, the test set, findings other than NIH's, and a warning for phantoms.

        Args:
            task: What the labels are called.
        """
        assert self.test.groups is not None
        patients = len(np.unique(self.test.groups))
        one_each = "; each image is taken for a patient of its own" if has_no_patients(self.table) else ""
        return (
            f"{synthetic_note(self.synthetic)}split {self.split.name}, sha256 {self.split.checksum[:12]}…; "
            f"test set {self.test_name}: {len(self.test):,} images of {patients:,} patients{one_each}"
        ) + ("" if self.table.classes == FINDINGS else f"; {task} {', '.join(self.table.classes)}")


def require_resolution(store: ImageStore, recipe: Recipe) -> None:
    """Refuse an image store whose images would be enlarged, unless the recipe agrees to it.

    Raises:
        AWBError: The store is smaller than the side to which the recipe resizes.
    """
    needed = recipe.data.transform(training=False).resized
    if store.size < needed and not recipe.data.enlarge:
        raise AWBError(
            f"{recipe.name} takes images of {needed} pixels, and those in {store.folder} have {store.size}: prepare a "
            f"store with --size {needed}, or agree that they are enlarged (--set data.enlarge=true)"
        )


def load_study(
    folder: str | Path,
    store: str | Path,
    settings: SplitSettings,
    *,
    table: str | Path | None = None,
    lists: Sequence[str | Path] | None = None,
    columns: Columns | None = None,
) -> Study:
    """Read labels and an image store, and split them as a recipe says.

    Args:
        folder: Folder with NIH's `Data_Entry_2017*.csv` and, for the split `official`, its two lists.
        store: Folder of the image store that `prepare` wrote.
        settings: The recipe's settings of the split.
        table: Table of your own in place of NIH's file.
        lists: Three files of image names, for the split `lists`: train, validation, test.
        columns: Columns of the table.

    Raises:
        AWBError: A file is missing or wrong, the image store lacks images, `lists` is given for another split, or the
            test set has only one patient.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AWBError(f"no folder {folder}")
    labels, images = read_labelled_images(folder, store, table, columns)
    origin: Origin = (
        "phantoms" if (folder / SIGNATURE).is_file() else origin_of(labels.images.tolist(), labels_from_nih=not table)
    )
    study = Study(labels, images, make_split(labels, settings, folder, lists), origin)
    if len(np.unique(study.test.groups)) < 2:  # type: ignore[arg-type]
        raise AWBError(f"the test set has 1 patient ({len(study.test)} images); results need two, and intervals more")
    return study


def read_labelled_images(
    folder: Path, store: str | Path, table: str | Path | None, columns: Columns | None = None
) -> tuple[LabelTable, ImageStore]:
    """Read the labels and the image store of a study, whatever its split.

    Raises:
        AWBError: A file is missing or wrong, or the image store lacks images.
    """
    labels = ages_in_years(read_study_labels(folder, table=table, columns=columns))
    images = ImageStore.open(store)
    images.require(labels.images)
    return labels, images


@dataclass(frozen=True)
class StudySource:
    """Files from which studies are read; each recipe adds its split."""

    folder: Path
    store: Path
    table: Path | None = None
    lists: tuple[Path, ...] | None = None
    columns: Columns = field(default_factory=Columns)

    def require(self, recipes: Iterable[Recipe] = ()) -> None:
        """Refuse missing or damaged files before the first run begins, or images too small for the recipes.

        Raises:
            AWBError: As in `read_labelled_images` and `require_resolution`, or pixels of the image store are not those
                that were decoded.
        """
        _, images = read_labelled_images(self.folder, self.store, self.table, self.columns)
        for recipe in recipes:
            require_resolution(images, recipe)
        images.verify()

    def study(self, recipe: Recipe) -> Study:
        """Study of a recipe; recipes with the same split share it. Only the split `lists` uses the three lists."""
        return _load(self, recipe.data.split)


@lru_cache(maxsize=4)
def _load(source: StudySource, settings: SplitSettings) -> Study:
    lists = source.lists if settings.name == "lists" else None
    return load_study(source.folder, source.store, settings, table=source.table, lists=lists, columns=source.columns)
