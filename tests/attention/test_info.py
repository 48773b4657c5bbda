"""What the kinds say of themselves holds, and the page, the command and the filters say the same."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import awb
from awb.attention.registry import count_parameters
from benchmarks.kinds_page import on_page_markdown
from tests.attention.shapes import some_channels

ROOT = Path(__file__).parents[2]
KINDS = awb.list_attention()
OF_PAPERS = [name for name in KINDS if not name.startswith("timm_")]
WORDS = {"max": max, "min": min, "int": int, "round": round, "abs": abs, "log2": math.log2, "__builtins__": {}}


@pytest.mark.parametrize("kind", OF_PAPERS)
@pytest.mark.parametrize("times", [1, 2, 5, 16, 43])
def test_parameters_follow_their_formula(kind: str, times: int) -> None:
    info = awb.attention_info(kind)
    channels = times * math.lcm(info.channel_multiple, 1 if times < 16 else 6)
    if channels < info.min_channels:
        pytest.skip(f"{kind} takes {info.min_channels} channels or more")
    assert count_parameters(kind, channels) == eval(info.parameters, WORDS, {"C": channels})


@pytest.mark.parametrize("kind", OF_PAPERS)
def test_the_limits_are_the_limits(kind: str) -> None:
    """The smallest channels and map work; one less, and what the multiple does not divide, is refused in words."""
    info = awb.attention_info(kind)
    least = some_channels(kind, info.min_channels)
    module = awb.create_attention(kind, least).eval()
    x = torch.randn(2, least, info.min_map, info.min_map)
    assert module(x).shape == x.shape
    if info.min_map > 1:
        with pytest.raises(awb.AWBError, match=f"at least {info.min_map}"):
            module(torch.randn(2, least, info.min_map - 1, info.min_map))
    if info.channel_multiple > 1:
        with pytest.raises(awb.AWBError, match="multiple of"):
            awb.create_attention(kind, least + 1)
    if info.min_channels > info.channel_multiple:
        with pytest.raises(awb.AWBError):
            awb.create_attention(kind, least - info.channel_multiple)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not awb.attention_info(kind).batch_of_one])
def test_a_batch_of_one_is_refused_in_words(kind: str) -> None:
    module = awb.create_attention(kind, 48).train()
    with pytest.raises(awb.AWBError, match="cannot train at batch size 1"):
        module(torch.randn(1, 48, 9, 8))
    module.eval()(torch.randn(1, 48, 9, 8))


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_as_the_identity_in_the_way_that_it_says(kind: str) -> None:
    info = awb.attention_info(kind)
    channels = some_channels(kind)
    torch.manual_seed(0)
    module = awb.create_attention(kind, channels)
    x = torch.randn(2, channels, 9, 8)

    def is_identity() -> bool:
        return all(torch.equal(module.train(mode)(x), x) for mode in (True, False))

    assert is_identity() == (info.identity == "exact")
    offered = hasattr(module, "reset_identity") and getattr(module, "has_identity", True)
    assert offered == (info.identity == "setting")
    if info.identity == "setting":
        module.reset_identity()
        assert is_identity()


@pytest.mark.parametrize("kind", OF_PAPERS)
def test_every_kind_names_its_paper(kind: str) -> None:
    paper = awb.attention_info(kind).paper
    assert paper is not None
    assert 2016 < paper.year < 2027
    assert paper.url is not None
    assert paper.arxiv is None or re.fullmatch(r"\d{4}\.\d{5}", paper.arxiv)
    entry = paper.bibtex()
    assert entry.startswith("@")
    assert entry.count("{") == entry.count("}")


def test_filters() -> None:
    assert awb.list_attention("gc?") == ["gct"]
    assert set(awb.list_attention(gates="channel")) < set(KINDS)
    assert all("channel" in awb.attention_info(name).gates for name in awb.list_attention(gates="channel"))
    few = awb.list_attention(max_params=100, channels=64)
    assert few == [name for name in KINDS if 64 % awb.attention_info(name).channel_multiple == 0
                   and count_parameters(name, 64) <= 100]  # fmt: skip
    assert "simam" in few
    assert set(awb.list_attention(has_map=True)) | set(awb.list_attention(has_map=False)) == set(KINDS)
    with pytest.raises(awb.AWBError, match="identity='gama': expected one of 'exact', 'setting', 'gamma'"):
        awb.list_attention(identity="gama")  # type: ignore[arg-type]


def test_the_page_has_a_row_and_a_reference_for_each() -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="kinds.md"))
    built = on_page_markdown((ROOT / "docs" / "kinds.md").read_text(), page=page)
    rows = re.findall(r"^\| `(\w+)` \|", built, re.MULTILINE)
    assert sorted(rows) == KINDS
    for name in OF_PAPERS:
        paper = awb.attention_info(name).paper
        assert paper is not None
        assert built.count(paper.bibtex()) == 1
