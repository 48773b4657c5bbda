"""The benchmark of all kinds runs, goes on where it ended, and says which kinds do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.csv_rows import append_row, read_rows
from benchmarks.kinds import Price, build, passed, table


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [
        Price("resnet18", "se", "cpu", 10, 20, 1.5, 1.25, 1.0, 0.5, 0.5),
        Price("resnet18", "mlka", refused="channels=64: mlka, with kernels, needs a multiple of 3"),
    ]
    for row in rows:
        append_row(tmp_path / "kinds.csv", row)
    assert read_rows(tmp_path / "kinds.csv", Price) == rows
    assert read_rows(tmp_path / "none.csv", Price) == []
    shown = table(rows)
    assert [row["kind"] for row in shown] == ["se"]
    assert shown.notes == ("mlka does not fit: channels=64: mlka, with kernels, needs a multiple of 3",)


@pytest.mark.parametrize(("kind", "share"), [("gct", 1.0), ("grn", 1.0), ("timm_nl", 1.0)])
def test_a_kind_that_is_the_identity_lets_all_through(kind: str, share: float) -> None:
    assert passed(kind, (2, 48, 9, 8), train=False) == pytest.approx(share)


def test_a_sigmoid_gate_lets_half_through() -> None:
    assert passed("se", (2, 256, 9, 8), train=True) == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_one_kind_is_measured(tmp_path: Path) -> None:
    from benchmarks.kinds import price

    images = torch.randn(2, 3, 64, 64)
    row = price("resnet18", "se", images, pairs=1)
    plain, with_blocks = (sum(p.numel() for p in build("resnet18", kind, 64).parameters()) for kind in (None, "se"))
    assert row.params == with_blocks - plain
    assert row.macs > 0
    assert min(row.forward, row.step, row.memory) > 0
    assert price("resnet18", "mlka", images, pairs=1).refused
