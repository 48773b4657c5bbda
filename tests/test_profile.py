"""Costs and tables."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision

import awb
from awb.macs import count_macs
from tests.helpers import assert_same, snapshot


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


@pytest.mark.slow
def test_a_model_may_take_the_factorys_place() -> None:
    model = timm.create_model("test_resnet")
    before = snapshot(model)
    table = awb.profile_placements(model, [None, 4, {3: "cbam", 4: ["se", "lka"]}], 64, init="default")
    torch.set_rng_state(before["rng"])
    assert_same(before, snapshot(model))
    assert list(table) == list(
        awb.profile_placements(
            lambda: timm.create_model("test_resnet"), [None, 4, {3: "cbam", 4: ["se", "lka"]}], 64, init="default"
        )
    )
    plain, _, mixed = table
    attached = awb.attach_awb(model, {3: "cbam", 4: ["se", "lka"]}, init="default")
    assert mixed["placement"] == "{3: 'cbam', 4: ['se', 'lka']}"
    assert mixed["AWB params"] == sum(p.numel() for p in awb.awb_parameters(attached))
    assert mixed["backbone MACs"] == plain["MACs"]


def test_the_kind_beside_placements_is_for_those_that_name_none() -> None:
    model = timm.create_model("test_resnet")
    table = awb.profile_placements(model, ["last", {"last": "se"}, None], 64, attention="lka", kernel_size=3)
    assert [row["AWB params"] for row in table] == [
        sum(p.numel() for p in awb.awb_parameters(awb.attach_awb(model, 4, replace=True, **kind)))
        for kind in ({"kernel_size": 3}, {"attention": "se", "init": "identity"})
    ] + [0]
    for placements, kwargs, message in (
        ([{3: "se"}], {"kernel_size": 3}, "kernel_size= has none to go to"),
        (["last", {3: "se"}], {"kernel": 3}, "did you mean kernel_size"),
    ):
        with pytest.raises(awb.AWBError, match=message):
            awb.profile_placements(timm.create_model("test_resnet"), placements, 64, **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("factory", "placements", "message"),
    [
        (None, {3: "cbam", 4: "lka"}, r"3 is not a label; .* one of a list, \[\{3: 'cbam', 4: 'lka'\}\]"),
        (None, "last", r"expected a list of placements, \['last'\]"),
        (None, 4, r"expected a list of placements, \[4\]"),
        (None, {"last": "se"}, "'se' is an attention kind, not a stage"),
        ("test_resnet", [4], "factory is a str; expected a model, or a function"),
    ],
)
def test_what_are_no_placements_is_said(factory: Any, placements: Any, message: str) -> None:
    with pytest.raises(awb.AWBError, match=message):
        awb.profile_placements(factory or timm.create_model("test_resnet"), placements, 64)


def test_table_as_text_and_markdown() -> None:
    table = awb.Table(("name", "count"), (("a", 1234), ("bc", None)), ("a note",))
    assert str(table) == "name  count\n----  -----\na     1,234\nbc        –\na note"
    assert table.to_markdown() == "| name | count |\n| --- | --: |\n| a | 1,234 |\n| bc | – |\n\na note"
    assert next(iter(table)) == {"name": "a", "count": 1234}
    assert len(table) == 2
