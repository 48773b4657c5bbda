"""Costs and tables."""

from __future__ import annotations

import torch
import torchvision

import awb
from awb.macs import count_macs


def test_macs_are_the_arithmetic() -> None:
    """LKA: 25 + 49 + C multiply–accumulates a value."""
    channels, height, width = 6, 10, 14
    macs, missed = count_macs(awb.LKA(channels), torch.zeros(1, channels, height, width))
    assert macs == channels * height * width * (25 + 49 + channels)
    assert missed == {"aten::mul"}


def test_placements_split_backbone_and_blocks() -> None:
    table = awb.profile_placements(
        lambda: torchvision.models.resnet18(weights=None), {"plain": None, "all": "all", "last": "last"}, 64
    )
    rows = {row["placement"]: row for row in table}
    assert rows["plain"]["AWB MACs"] == 0
    lka = 512 * (25 + 49 + 512 + 3)
    assert rows["last"]["params"] == rows["plain"]["params"] + lka
    assert rows["last"]["AWB params"] == lka
    assert rows["last"]["AWB MACs"] == 512 * 4 * (25 + 49 + 512)
    for row in rows.values():
        assert row["backbone MACs"] == rows["plain"]["MACs"]
        assert row["MACs"] == row["backbone MACs"] + row["AWB MACs"]


def test_latency_is_optional_and_the_model_stays() -> None:
    model = torchvision.models.resnet18(weights=None).train()
    table = awb.profile_placements(lambda: model, [None], 32, latency=True)
    assert next(iter(table))["latency (ms)"] > 0
    assert model.training


def test_table_as_text_and_markdown() -> None:
    table = awb.Table(("name", "count"), (("a", 1234), ("bc", None)), ("a note",))
    assert str(table) == "name  count\n----  -----\na     1,234\nbc        –\na note"
    assert table.to_markdown() == "| name | count |\n| --- | --: |\n| a | 1,234 |\n| bc | – |\n\na note"
    assert next(iter(table)) == {"name": "a", "count": 1234}
    assert len(table) == 2
