"""Columns of a table, as options and back."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awb import AWBError
from examples.chestxray14.commands.column_arguments import add_column_arguments, columns_of
from examples.chestxray14.data.columns import Columns

# argparse takes a word that begins with a dash for an option
NAMES = st.text(min_size=1).filter(lambda text: not text.startswith("-"))


@given(
    st.builds(
        Columns, NAMES, NAMES, st.lists(NAMES).map(tuple), st.none() | NAMES, st.none() | NAMES,
        st.sampled_from([None, "unknown", "negative"]), st.sampled_from(["refuse", "unknown", "positive"]),
    )
)  # fmt: skip
def test_options_say_what_the_columns_are(columns: Columns) -> None:
    parser = argparse.ArgumentParser()
    add_column_arguments(parser)
    assert columns_of(parser.parse_args(shlex.split(columns.as_options()))) == columns


def test_the_usual_columns_need_no_option() -> None:
    assert Columns().as_options() == ""


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (["filename", "patient", "x"], "give --image-column filename. The file has filename, patient, x"),
        (["img", "file", "patient"], "give --image-column one of img, file."),
        (["x", "patient"], "give --image-column NAME."),
        (["path", "Subject ID"], "give --patient-column 'Subject ID', or --patient-column path if each image"),
        ([], "The file has no columns"),
    ],
)
def test_what_is_missing_is_answered_with_the_option_to_type(header: list[str], words: str) -> None:
    with pytest.raises(AWBError) as caught:
        Columns().require("t.csv", header)
    assert words in str(caught.value)


def test_a_misspelt_column_is_answered_with_the_nearest() -> None:
    with pytest.raises(AWBError, match=r"no column 'skans' .*; give --image-column scans"):
        replace(Columns(), image="skans").require("t.csv", ["scans", "patient"])
