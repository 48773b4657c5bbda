"""Pickles and states written before modules were renamed are still read."""

from __future__ import annotations

import json
import pickle

import pytest

from awb.study import LabelTable, ScheduleState, two_stage


@pytest.mark.parametrize(
    ("value", "now", "before"),
    [
        (LabelTable(["a"], ("Mass",), [[1]], ["p"]), "awb.study.label_table", "awb.study.labels"),
        (ScheduleState(two_stage(first_lr=1e-3)), "awb.study.schedule_state", "awb.study.progress"),
        (two_stage().stages[0], "awb.study.schedule", "awb.study.schedule"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_pickle_that_names_the_earlier_module_is_read(value: object, now: str, before: str) -> None:
    written = pickle.dumps(value, protocol=0)  # names modules as plain text
    assert now.encode() in written
    read = pickle.loads(written.replace(now.encode(), before.encode()))
    assert type(read) is type(value)
    if isinstance(value, LabelTable):
        assert read.checksum == value.checksum


def test_a_state_of_before_is_loaded() -> None:
    written = (  # `state_dict` of two_stage(first_lr=1e-3) after one epoch
        '{"schedule": "700497c7952523f14379f2b164fa219c14d47f4a27d658218abdaee5a8fb3220", "stage": 0, "epoch": 1, '
        '"best": 0.7, "best_epoch": 0, "found_lr": {}, "stage_ended": false}'
    )
    state = ScheduleState(two_stage(first_lr=1e-3))
    state.load_state_dict(json.loads(written))
    assert state.epoch is not None
    assert state.epoch.index == 1
