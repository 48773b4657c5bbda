"""Twins of the kinds that gate positions, or channels and positions together."""

from __future__ import annotations

from benchmarks.golden.twins import Twin

TWINS: dict[str, Twin] = {
    "cbam": Twin("cbam"),
}
