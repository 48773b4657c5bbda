"""Parameters and MACs of the report's networks: golden figures from the report's Table 4.

(14 classes, 224×224; the report prints 8,096,530 in one place for 8,095,630.)
"""

from __future__ import annotations

import pytest

from benchmarks import table4

GOLDEN = [
    ("densenet121", "all", 9_609_870, 3.64),
    ("densenet121", "last:2", 9_223_054, 3.14),
    ("densenet121", "after", 8_095_630, 2.92),
    ("vgg16_bn", "all", 15_453_966, 16.70),
    ("vgg16_bn", "last:3", 15_418_702, 15.93),
    ("vgg16_bn", "after", 15_031_886, 15.39),
]


@pytest.mark.parametrize(
    ("backbone", "stages", "params", "gmacs"),
    [pytest.param(*row, marks=() if row[:2] == ("vgg16_bn", "last:3") else pytest.mark.slow) for row in GOLDEN],
)
def test_figures_are_the_reports(backbone: str, stages: str, params: int, gmacs: float) -> None:
    unknown = table4.Cost(backbone, "", stages, 0, 0.0)
    (measured,), notes = table4.measure([unknown])
    assert (measured.params, measured.gmacs) == (params, gmacs)
    # what fvcore leaves out: pooling, and LKA's product of map and input
    assert set(notes[0].partition("not counted in MACs: ")[2].split(", ")) <= {
        "aten::avg_pool2d", "aten::max_pool2d", "aten::mul",
    }  # fmt: skip


def test_the_script_holds_the_same_figures() -> None:
    assert [(row.backbone, row.stages, row.params, row.gmacs) for row in table4.TABLE_4] == GOLDEN


def test_any_difference_is_shown() -> None:
    (equal,) = table4.compare(table4.TABLE_4[:1], table4.TABLE_4[:1])
    assert equal["equal"] is True
    for changed in ({"params": 9_609_871}, {"gmacs": 3.65}):
        (row,) = table4.compare(table4.TABLE_4[:1], [table4.TABLE_4[0]._replace(**changed)])
        assert row["equal"] is False
