"""The four splits: the report's counts and leak are golden numbers, the others share nothing that is tested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from awb import AWBError
from awb.study import LabelTable, Split, audit_leakage, require_disjoint
from examples.chestxray14.__main__ import main
from examples.chestxray14.data import splits
from examples.chestxray14.data.nih import read_list
from examples.chestxray14.data.splits import report_leak
from tests.chestxray14.real import NIH, needs_nih


def counts(split: Split) -> dict[str, int]:
    return {name: len(images) for name, images in split.sets.items()}


def parts(split: Split, table: LabelTable) -> tuple[dict[str, LabelTable], dict[str, LabelTable]]:
    """The sets trained on, and those held out."""
    sets = split.tables(table)
    train = {name: sets.pop(name) for name in list(sets) if name.endswith("/train")}
    return train, sets


@pytest.fixture(scope="module")
def report(nih: LabelTable) -> Split:
    return splits.report(nih)


def test_the_reports_partitions_have_its_counts(report: Split) -> None:
    found = counts(report)
    assert (found["stage1/train"], found["stage1/validation"]) == (36_506, 5_215)
    assert (found["stage2/train"], found["stage2/validation"], found["stage2/test"]) == (78_544, 11_220, 22_356)


def test_each_partition_of_the_report_has_its_patients(nih: LabelTable, report: Split) -> None:
    for stage, patients in (("stage1", 14_402), ("stage2", 30_805)):
        sets = [set(report.sets[f"{stage}/{name}"]) for name in ("train", "validation", "test")]
        assert len(set().union(*sets)) == sum(map(len, sets))  # each image once
        assert len({report.groups[image] for image in set().union(*sets)}) == patients
        trained, tested = ({report.groups[i] for i in images} for images in (sets[0] | sets[1], sets[2]))
        assert not trained & tested  # within a stage its test patients are apart


def test_two_thirds_of_the_reports_abnormal_test_images_were_trained_on(nih: LabelTable, report: Split) -> None:
    overall, abnormal, *findings = report_leak(nih)
    assert overall["test images"] == 22_356
    assert (abnormal["test images"], abnormal["trained on"], abnormal["with validation"]) == (10_296, 6_980, 8_016)
    assert abnormal["share"] == pytest.approx(0.678, abs=5e-4)
    assert abnormal["share of both"] == pytest.approx(0.7786, abs=5e-5)
    assert [row["finding"] for row in findings] == list(nih.classes)
    # once more, by Python's sets
    test = {i for i, sick in zip(nih.images.tolist(), nih.abnormal, strict=True) if sick} & set(
        report.sets["stage2/test"]
    )
    assert len(test & set(report.sets["stage1/train"])) == 6_980


def test_the_documentation_shows_this_leak(nih: LabelTable) -> None:
    page = Path(__file__).parents[3] / "docs" / "study" / "splits.md"
    assert str(report_leak(nih)) in page.read_text()


def test_training_refuses_the_reports_split_unless_told_by_name(nih: LabelTable, report: Split) -> None:
    sets = report.tables(nih)
    train, test = {"stage1/train": sets["stage1/train"]}, {"stage2/test": sets["stage2/test"]}
    with pytest.raises(AWBError, match=r"shares 6,980 of its 22,356 images and 2,157 of its 6,161 patients"):
        require_disjoint(train, test)
    require_disjoint(train, test, allow=[("stage1/train", "stage2/test")])


def test_the_reports_validation_images_are_of_its_training_patients(nih: LabelTable, report: Split) -> None:
    sets = report.tables(nih)
    row, *_ = audit_leakage({name: sets[name] for name in ("stage2/train", "stage2/validation")}, per_class=False)
    assert row["seen"] == 0
    assert row["of seen patients"] > 0.8 * row["images"]


def test_the_default_is_nested_balanced_and_shares_nothing(nih: LabelTable) -> None:
    split = splits.nested(nih)
    train, held_out = parts(split, nih)
    require_disjoint(train, held_out)
    for part in ("train", "validation"):
        whole = split.sets[f"stage2/{part}"]
        sick = set(nih.images[nih.abnormal].tolist())
        assert set(split.sets[f"stage1/{part}"]) == set(whole) & sick
    total = nih.labels.sum(0)
    for name, share in (("stage2/train", 0.7), ("stage2/validation", 0.1), ("test", 0.2)):
        table = nih.take(nih.find(split.sets[name]))
        assert len(table) == pytest.approx(share * len(nih), rel=1e-3)
        np.testing.assert_allclose(table.labels.sum(0), share * total, rtol=0.015)
    assert split.checksum.startswith("b31a1b44bb7f7c5414c0")  # of 2026-11-24: runs of other days are on the same images


@needs_nih
@pytest.mark.slow
def test_the_official_split_has_nihs_counts_and_shares_nothing(nih: LabelTable) -> None:
    names = [read_list(NIH / f"{name}_list.txt.gz") for name in ("train_val", "test")]
    split = splits.official(nih, *names)
    found = counts(split)
    assert found["stage2/train"] + found["stage2/validation"] == 86_524
    assert found["test"] == 25_596
    assert len({split.groups[image] for image in split.sets["test"]}) == 2_797
    require_disjoint(*parts(split, nih))


@needs_nih
@pytest.mark.slow
def test_any_lists_of_names_make_a_split(nih: LabelTable) -> None:
    folder = NIH / "chexnet_lists"
    split = splits.lists(nih, *(read_list(folder / f"{name}_list.txt.gz") for name in ("train", "val", "test")))
    found = counts(split)
    assert (found["stage2/train"], found["stage2/validation"], found["test"]) == (78_468, 11_219, 22_433)
    require_disjoint(*parts(split, nih))


def test_lists_may_come_from_anywhere(nih: LabelTable, tmp_path: Path) -> None:
    names = nih.images[:9].tolist()
    split = splits.lists(nih.take(range(9)), names[:3], names[3:6], names[6:])
    assert split.sets["test"] == tuple(sorted(names[6:]))
    path = tmp_path / "list.txt"
    path.write_text("\n".join(names) + "\n\n")
    assert read_list(path) == names


@pytest.mark.slow
def test_a_split_of_the_whole_file_is_read_as_it_was_written(report: Split, tmp_path: Path) -> None:
    report.save(tmp_path / "report.csv.gz")
    assert Split.load(tmp_path / "report.csv.gz").checksum == report.checksum


@pytest.mark.slow
def test_the_command_prints_the_leak(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit"]) == 0
    out = capsys.readouterr().out
    for words in ("36,506", "5,215", "78,544", "11,220", "22,356"):
        assert words in out
    line = next(line for line in out.splitlines() if line.startswith("any finding"))
    assert line.split() == ["any", "finding", "10,296", "6,980", "0.6779", "8,016", "0.7786"]
    assert main(["audit", "--data-entry", "nothing.csv"]) == 2
    assert "no file nothing.csv" in capsys.readouterr().err
