"""Phantoms stay phantoms wherever their files go, and nobody's own images pass for NIH's."""

import csv
import shutil
from pathlib import Path

import pytest

from awb import AWBError
from examples.chestxray14.data.nih import FINDINGS
from examples.chestxray14.data.origin import Origin, origin_of
from examples.chestxray14.data.study import load_study
from examples.chestxray14.evaluation.model_card import LABEL_NOISE
from examples.chestxray14.recipes.data_settings import SplitSettings


@pytest.mark.parametrize(
    ("images", "labels_from_nih", "expected"),
    [
        (["00000001_000.png", "00030805_000.png"], True, "NIH"),
        (["00000001_000.png"], False, "own"),  # somebody's own labels of NIH's images
        (["00000001_000.png", "chest7.png"], True, "own"),  # a file laid out like NIH's
        (["synthetic_000001_000.png"], True, "phantoms"),
        (["00000001_000.png", "images/synthetic_000001_000.png"], True, "phantoms"),
        (["synthetic_000001_000.png"], False, "phantoms"),
    ],
)
def test_an_origin(images: list[str], labels_from_nih: bool, expected: Origin) -> None:
    assert origin_of(images, labels_from_nih) == expected
    assert expected in LABEL_NOISE


def test_a_folder_that_is_not_there_is_refused_beside_a_table_too(phantoms: Path, tmp_path: Path) -> None:
    """Its mark of phantoms would not be found there."""
    split = SplitSettings(name="nested", seed=0, allow_overlap=())
    with pytest.raises(AWBError, match=r"no folder .*nowhere"):
        load_study(tmp_path / "nowhere", phantoms / "store", split, table=tmp_path / "own.csv")


def test_phantoms_without_their_mark_or_by_a_table_are_still_synthetic(phantoms: Path, tmp_path: Path) -> None:
    split = SplitSettings(name="nested", seed=0, allow_overlap=())
    (labels,) = (phantoms / "data").glob("Data_Entry*")
    shutil.copy(labels, tmp_path)
    assert load_study(tmp_path, phantoms / "store", split).headline().startswith("SYNTHETIC")
    study = load_study(phantoms / "data", phantoms / "store", split)
    with (tmp_path / "own.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "patient", *FINDINGS))
        assert study.table.groups is not None
        for image, patient, row in zip(study.table.images, study.table.groups, study.table.labels, strict=True):
            writer.writerow((image, patient, *map(int, row)))
    assert load_study(tmp_path, phantoms / "store", split, table=tmp_path / "own.csv").synthetic
