"""NIH's label file, read once."""

import pytest

from awb.study import LabelTable
from examples.chestxray14.labels import packaged_data_entry, read_data_entry


@pytest.fixture(scope="session")
def nih() -> LabelTable:
    return read_data_entry(packaged_data_entry())
