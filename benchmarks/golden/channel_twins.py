"""Twins of the kinds that gate channels."""

from __future__ import annotations

from benchmarks.golden.twins import Twin

TWINS: dict[str, Twin] = {
    "gct": Twin("gct"),
    "gct_l1": Twin("gct", {"norm": "l1"}),
    "se_no_bias": Twin("se", {"bias": False}),
}
