"""Splits: no group is ever parted, labels are balanced, and a file is what it was when it was written."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupShuffleSplit

from awb import AWBError
from awb.study import LabelTable, Split, audit_leakage, nested_split, require_disjoint, split_by_group, two_stage

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


def patients(n: int = 400, seed: int = 0) -> LabelTable:
    """Several images a patient, rare and common findings that follow the patient, some labels unknown."""
    rng = np.random.RandomState(seed)
    groups = np.repeat(np.arange(n), rng.geometric(0.35, n))
    risk = rng.beta(0.3, 3, (n, 4)) * [1, 1, 0.5, 0.2]
    labels = (rng.rand(len(groups), 4) < risk[groups]).astype(float)
    labels[rng.rand(*labels.shape) < 0.05] = math.nan
    images = [f"{group:04}_{i:05}.png" for i, group in enumerate(groups)]
    return LabelTable(images, ("a", "b", "c", "d"), labels, groups.astype(str))


@st.composite
def tables(draw: st.DrawFn) -> LabelTable:
    groups = draw(st.lists(st.integers(0, 30), min_size=40, max_size=80))
    labels = draw(st.lists(st.sampled_from([0.0, 1.0, math.nan]), min_size=2 * len(groups), max_size=2 * len(groups)))
    images = [f"{i}.png" for i in range(len(groups))]
    return LabelTable(images, ("a", "b"), np.reshape(labels, (-1, 2)), [str(group) for group in groups])


@given(tables(), st.integers(0, 5), st.sampled_from([SHARES, {"a": 0.5, "b": 0.5}]))
@settings(max_examples=60, deadline=None)
def test_a_split_never_parts_a_group_and_drops_no_image(table: LabelTable, seed: int, shares: dict[str, float]) -> None:
    if len(np.unique(table.groups)) < 12:  # type: ignore[arg-type]
        return
    split = split_by_group(table, shares, seed)
    sets = split.tables(table)
    groups = [set(one.groups.tolist()) for one in sets.values()]  # type: ignore[union-attr]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert sorted(image for images in split.sets.values() for image in images) == sorted(table.images.tolist())
    names = list(sets)
    require_disjoint({names[0]: sets[names[0]]}, {name: sets[name] for name in names[1:]})


def share_errors(table: LabelTable, sets: dict[str, LabelTable]) -> np.ndarray:
    """How far each class's positives are from each set's share of them, relatively."""
    total = (table.labels == 1).sum(0)
    return np.array([(one.labels == 1).sum(0) / (SHARES[name] * total) - 1 for name, one in sets.items()])


def test_every_class_is_in_every_set_in_proportion() -> None:
    table = patients()
    total = (table.labels == 1).sum(0)
    sets = split_by_group(table, SHARES).tables(table)
    images = np.array([len(one) / len(table) for one in sets.values()])
    np.testing.assert_allclose(images, list(SHARES.values()), atol=0.01)
    assert (abs(share_errors(table, sets)) * 0.1 * total <= 2).all()  # images of the rarest set


def test_it_is_better_balanced_than_the_best_of_fifty_random_ones() -> None:
    table = patients()
    ours = abs(share_errors(table, split_by_group(table, SHARES).tables(table))).max()
    errors = []
    for rest, test in GroupShuffleSplit(50, test_size=0.2, random_state=0).split(table.images, groups=table.groups):
        left = table.take(rest)
        train, validation = next(
            GroupShuffleSplit(1, test_size=1 / 8, random_state=0).split(left.images, groups=left.groups)
        )
        sets = {"train": left.take(train), "validation": left.take(validation), "test": table.take(test)}
        errors.append(abs(share_errors(table, sets)).max())
    assert ours < min(errors)


def test_the_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    table = patients()
    shuffled = table.take(np.random.RandomState(1).permutation(len(table)))
    checksums = [split_by_group(table, SHARES, seed).checksum for seed in range(3)]
    assert [split_by_group(shuffled, SHARES, seed).checksum for seed in range(3)] == checksums
    assert len(set(checksums)) == 3


def test_the_split_of_a_table_is_this_one_on_every_platform() -> None:
    """Written down on 2026-11-24; nothing random in it comes from a library."""
    table = LabelTable(
        [f"{i}.png" for i in range(30)], ("a",), [[i % 3 == 0] for i in range(30)], [str(i // 2) for i in range(30)]
    )
    assert split_by_group(table, SHARES).checksum.startswith("b16c1fe05c7b5cb3a05d")


def test_the_largest_group_is_not_always_in_the_first_set() -> None:
    table = patients(60)
    assert table.groups is not None
    names, sizes = np.unique(table.groups, return_counts=True)
    largest = names[sizes.argmax()]
    homes = set()
    for seed in range(20):
        split = split_by_group(table, {"a": 0.5, "b": 0.5}, seed)
        homes |= {name for name, one in split.tables(table).items() if largest in one.groups}  # type: ignore[operator]
    assert homes == {"a", "b"}


@pytest.mark.parametrize("name", ["split.csv", "split.csv.gz"])
def test_a_split_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    split = split_by_group(patients(), SHARES, name="by patient, balanced")
    split.save(tmp_path / name)
    again = Split.load(tmp_path / name)
    assert again == split
    assert again.checksum == split.checksum
    split.save(tmp_path / f"again-{name}")
    assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()


def test_a_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    split_by_group(patients(), SHARES).save(path)
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    changed = {
        "moved": text.replace("validation,", "test,", 1),
        "dropped": "".join(lines[:-1]),
        "regrouped": "".join([*lines[:2], lines[2].replace(",0\n", ",1\n"), *lines[3:]]),
        "renamed": text.replace("name=by group", "name=official"),
    }
    for how, other in changed.items():
        assert other != text, how
        path.write_text(other)
        with pytest.raises(AWBError, match="was changed"):
            Split.load(path)
    path.write_text("image,patient\na,1\n")
    with pytest.raises(AWBError, match="not a split"):
        Split.load(path)
    whole = gzip.compress(text.encode())
    for damaged in (whole[: len(whole) // 2], whole[:-4] + b"0000", b"no gzip"):
        (tmp_path / "split.csv.gz").write_bytes(damaged)
        with pytest.raises(AWBError, match=r"split\.csv\.gz is damaged"):
            Split.load(tmp_path / "split.csv.gz")
    with pytest.raises(AWBError, match="no file"):
        Split.load(tmp_path / "nothing.csv")


def test_the_checksum_is_of_the_content_and_not_of_the_order() -> None:
    groups = {"a": "1", "b": "2", "c": "3"}
    split = Split("s", {"train": ("a", "b"), "test": ("c",)}, groups)
    assert Split("s", {"train": ("b", "a"), "test": ("c",)}, groups).checksum == split.checksum
    others = [
        Split("s", {"train": ("a",), "test": ("b", "c")}, groups),
        Split("t", {"train": ("a", "b"), "test": ("c",)}, groups),
        Split("s", {"train": ("a", "b"), "test": ("c",)}, groups | {"a": "2"}),
    ]
    assert len({split.checksum, *(other.checksum for other in others)}) == 4


def test_nested_stages_see_nothing_that_another_stage_holds_out() -> None:
    table = patients()
    stages = {stage.name: stage.rows(table) for stage in two_stage().stages}
    split = nested_split(split_by_group(table, SHARES), table, stages)
    sets = split.tables(table)
    assert list(sets) == ["abnormal/train", "abnormal/validation", "all/train", "all/validation", "test"]
    for part in ("train", "validation"):
        whole, abnormal = sets[f"all/{part}"], sets[f"abnormal/{part}"]
        assert abnormal.abnormal.all()
        assert set(abnormal.images.tolist()) == set(whole.take(whole.abnormal).images.tolist())
    train = {name: sets[name] for name in ("abnormal/train", "all/train")}
    held_out = {name: sets[name] for name in ("abnormal/validation", "all/validation", "test")}
    require_disjoint(train, held_out)
    assert all(row["seen"] == 0 for row in audit_leakage({**train, "test": sets["test"]}) if row["set"] == "test")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: split_by_group(t, {"train": 0.7, "test": 0.2}), "sum to 1"),
        (lambda t: split_by_group(t, {"train": 1.2, "test": -0.2}), "positive"),
        (lambda t: split_by_group(t.take([0, 1]), SHARES), "1 groups for 3 sets"),
        (lambda t: split_by_group(LabelTable(t.images, t.classes, t.labels), SHARES), "no groups"),
        (lambda t: Split("s", {"train": ()}, {}), "'train' is empty"),
        (lambda t: Split("s", {"train": ("a", "a")}, {"a": "1"}), "names a twice"),
        (lambda t: Split("s", {"train": ("a", "b")}, {"a": "1"}), "b have no group"),
        (lambda t: Split("s", {"train": ("z",)}, {"z": "1"}).tables(t), "1 images are not in the table: z"),
        (lambda t: nested_split(split_by_group(t, SHARES), t, {}, held_out="tset"), "no set 'tset'"),
        (
            lambda t: nested_split(split_by_group(t, SHARES), t, {"none": np.zeros(len(t), bool)}),
            "'none/train' is empty",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(call: object, words: str) -> None:
    table = patients(30).take(np.argsort(patients(30).groups, kind="stable"))
    with pytest.raises(AWBError, match=words):
        call(table)  # type: ignore[operator]
