"""The audit counts what sets share, as sets of names do; training on what is held out is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awb import AWBError
from awb.cli import main
from awb.study import LabelTable, audit_leakage, require_disjoint


def table(images: Sequence[int], groups: bool = True) -> LabelTable:
    """Image i is of patient i // 3; class `a` every second, class `b` every fifth, unknown in every seventh."""
    labels = [[i % 2 == 0, math.nan if i % 7 == 0 else i % 5 == 0] for i in images]
    names = [f"{i:03}.png" for i in images]
    return LabelTable(names, ("a", "b"), labels, [f"p{i // 3}" for i in images] if groups else None)


images = st.lists(st.integers(0, 40), unique=True, min_size=1, max_size=25)


@given(images, images)
def test_counts_are_those_of_python_sets(train: list[int], test: list[int]) -> None:
    positive = {
        "all images": lambda i: True,
        "any finding": lambda i: i % 2 == 0 or (i % 7 and i % 5 == 0),
        "a": lambda i: i % 2 == 0,
        "b": lambda i: i % 7 and i % 5 == 0,
    }
    patients = {i // 3 for i in train}
    audit = list(audit_leakage({"train": table(train), "test": table(test)}))
    assert [row["images of"] for row in audit] == list(positive)
    for row in audit:
        chosen = [i for i in test if positive[row["images of"]](i)]
        assert (row["set"], row["seen in"]) == ("test", "train")
        assert row["images"] == len(chosen)
        assert row["seen"] == len(set(chosen) & set(train))
        assert row["of seen patients"] == sum(i // 3 in patients for i in chosen)
        assert row["patients"] == len({i // 3 for i in chosen})
        assert row["seen patients"] == len({i // 3 for i in chosen} & patients)
        for share, part, whole in (
            ("share", "seen", "images"),
            ("share of images", "of seen patients", "images"),
            ("share of patients", "seen patients", "patients"),
        ):
            assert row[share] == (row[part] / row[whole] if row[whole] else None)


@given(images, images)
def test_training_is_refused_exactly_where_images_or_patients_are_shared(train: list[int], test: list[int]) -> None:
    sets = table(train), table(test)
    if {i // 3 for i in train} & {i // 3 for i in test}:
        with pytest.raises(AWBError, match="shares"):
            require_disjoint(*sets)
    else:
        require_disjoint(*sets)
    require_disjoint(*sets, allow=[("train", "test")])


def test_every_pair_is_audited_once_and_without_classes_if_wished() -> None:
    audit = audit_leakage({"a": table([1]), "b": table([2]), "c": table([9])}, per_class=False)
    assert [(row["set"], row["seen in"], row["images of"]) for row in audit] == [
        (second, first, images)
        for first, second in (("a", "b"), ("a", "c"), ("b", "c"))
        for images in ("all images", "any finding")
    ]


def test_the_refusal_says_how_much_is_shared_with_examples() -> None:
    with pytest.raises(AWBError) as caught:
        require_disjoint({"stage1": table(range(9)), "stage2": table([30])}, {"test": table([2, 3, 9, 31, 32])})
    message = str(caught.value)
    assert "'test' shares 2 of its 5 images and 2 of its 4 patients with 'stage1'" in message
    assert "002.png, 003.png" in message
    assert "'test' shares 0 of its 5 images and 1 of its 4 patients with 'stage2' (patients p10)" in message
    assert "split_by_group" in message


def test_a_pair_is_allowed_by_name_and_no_other_with_it() -> None:
    train, held_out = {"one": table([1]), "two": table([4])}, {"validation": table([1]), "test": table([4])}
    with pytest.raises(AWBError, match="'test' shares") as caught:
        require_disjoint(train, held_out, allow=[("one", "validation")])
    assert "validation" not in str(caught.value)
    require_disjoint(train, held_out, allow=[("one", "validation"), ("two", "test")])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: audit_leakage({"a": table([1])}), "at least two"),
        (lambda: require_disjoint(table([1]), table([2], groups=False)), "test has no groups"),
        (lambda: require_disjoint(table([1]), table([9]), allow=[("trian", "test")]), "did you mean 'train'"),
        (lambda: require_disjoint(table([1]), table([9]), allow=[("train", "tests")]), "did you mean 'test'"),
        (lambda: require_disjoint(table([1]), table([9]), allow=["train"]), "expected pairs"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(call: object, words: str) -> None:
    with pytest.raises(AWBError, match=words):
        call()  # type: ignore[operator]


def test_notes_tell_of_patients_not_compared_and_of_names_that_may_be_the_same() -> None:
    assert "not compared" in audit_leakage({"a": table([1]), "b": table([2], groups=False)}).notes[0]
    a = LabelTable(["images/001.png", "002.png"], ("x",), [[0], [0]], ["00013", "7"])
    b = LabelTable(["001.jpg", "002.png"], ("x",), [[0], [0]], ["13", "7"])
    notes = audit_leakage({"a": a, "b": b}).notes
    assert "1 more images of b and a may be the same, written differently: 001" in notes
    assert "1 patients of b and a are the same, written differently: 13 = 00013" in notes
    assert audit_leakage({"a": a, "b": a}).notes == ()


def write(path: Path, images: Sequence[int]) -> str:
    lines = [f"{i:03}.png,p{i // 3},{i % 2},{'' if i % 7 == 0 else int(i % 5 == 0)}" for i in images]
    path.write_text("\n".join(["image,patient_id,odd,b", *lines]) + "\n")
    return str(path)


def test_the_command_prints_what_the_library_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = write(tmp_path / "train.csv", range(12)), write(tmp_path / "test.csv", range(10, 20))
    assert main(["study", "audit", train, test, "--group", "patient_id", "--json"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert err == ""
    assert [row["images of"] for row in rows] == ["all images", "any finding", "odd", "b"]
    assert (rows[0]["seen in"], rows[0]["set"]) == (train, test)
    assert (rows[0]["images"], rows[0]["seen"], rows[0]["of seen patients"]) == (10, 2, 2)
    assert main(["study", "audit", train, test]) == 0
    assert "not compared" in capsys.readouterr().out


def test_the_command_refuses_readably(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write(tmp_path / "train.csv", range(12))
    assert main(["study", "audit", train, train, "--group", "patient_id"]) == 2
    assert "named twice" in capsys.readouterr().err
    assert main(["study", "audit", train, str(tmp_path / "test.csv")]) == 2
    assert capsys.readouterr().err.startswith("awb: error: no file")
    assert main(["study", "audit", train]) == 2
    assert "at least two" in capsys.readouterr().err
