"""Options that a kind cannot have are refused when it is built, in words."""

from __future__ import annotations

from typing import Any

import pytest

import awb


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("se", {"reduction": 0}, "reduction=0: expected a positive int"),
        ("cbam", {"reduction": 2.5}, "reduction=2.5: expected a positive int"),
        ("cbam", {"kernel_size": 6}, "kernel_size=6: expected an odd number, so that the map keeps its size"),
        ("coord", {"reduction": -1}, "reduction=-1: expected a positive int"),
        ("ela", {"kernel_size": 4}, "kernel_size=4: expected an odd number, so that the axes keep their length"),
        ("efficient", {"head_count": 0}, "efficient with head_count=0: expected a positive int"),
        ("efficient", {"head_count": -8}, "efficient with head_count=-8: expected a positive int"),
        ("efficient", {"head_count": 5}, "needs a multiple of 5; the nearest is 45 or 50"),
        ("a2", {"c_m": 2.5}, "c_m=2.5: expected a positive int"),
        ("criss_cross", {"recurrence": True}, "recurrence=True: expected a positive int"),
        ("criss_cross", {"recurrence": 0}, "recurrence=0: expected a positive int"),
        ("external", {"k": 0}, "k=0: expected a positive int"),
        ("gct", {"norm": "l3"}, "norm='l3': expected 'l2' or 'l1'"),
        ("gc", {"fusion": "sum"}, "fusion='sum': expected 'add' or 'mul'"),
        ("bam", {"variant": "port"}, "variant='port': expected 'paper' or 'official'"),
        ("bam", {"dilation": 0}, "dilation=0: expected a positive int"),
        ("lka", {"backend": "cuda"}, "backend='cuda': expected one of 'auto'"),
        ("lska", {"kernel_size": 22}, "lska has .*; the nearest is 23"),
        ("simam", {"e_lambda": 0}, "e_lambda=0: expected a positive number"),
        ("fca", {"size": 10}, "size=10: expected a multiple of 7"),
        ("mlca", {"local_weight": 2}, "local_weight=2: expected a share from 0 to 1"),
    ],
)
def test_refused(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(awb.AWBError, match=message):
        awb.create_attention(kind, 48, **options)
