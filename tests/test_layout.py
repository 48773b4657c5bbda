"""Layouts: a round trip is the identity, and prefix tokens pass through."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from awb import AWBError
from awb.layout import LAYOUTS, from_nchw, to_nchw

sizes = st.integers(1, 6)


@given(layout=st.sampled_from(LAYOUTS), n=sizes, c=sizes, h=sizes, w=sizes, prefix=st.integers(0, 4))
def test_round_trip(layout: str, n: int, c: int, h: int, w: int, prefix: int) -> None:
    shape = {"NCHW": (n, c, h, w), "NHWC": (n, h, w, c), "NLC": (n, prefix + h * w, c)}[layout]
    x = torch.randn(shape)
    nchw = to_nchw(x, layout, (h, w), prefix)
    assert nchw.shape == (n, c, h, w)
    back = from_nchw(nchw, x, layout, prefix)
    assert torch.equal(back, x)
    assert back.stride() == x.stride()


def test_tokens_are_raster_order() -> None:
    tokens = torch.arange(1 + 2 * 3).float().view(1, -1, 1)
    assert to_nchw(tokens, "NLC", (2, 3), 1).flatten().tolist() == [1, 2, 3, 4, 5, 6]


def test_prefix_tokens_untouched() -> None:
    x = torch.randn(2, 5 + 4, 3)
    y = from_nchw(torch.zeros(2, 3, 2, 2), x, "NLC", 5)
    assert torch.equal(y[:, :5], x[:, :5])
    assert not y[:, 5:].any()


def test_strides_of_a_transposed_tensor_are_kept() -> None:
    x = torch.randn(2, 8, 12).transpose(1, 2)
    assert from_nchw(to_nchw(x, "NLC", (3, 4)) * 1, x, "NLC").stride() == x.stride()


def test_wrong_number_of_tokens_names_the_numbers() -> None:
    with pytest.raises(AWBError, match="9 tokens do not make a 2×4 grid"):
        to_nchw(torch.zeros(1, 10, 3), "NLC", (2, 4), 1)
