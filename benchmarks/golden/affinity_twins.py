"""Twins of the kinds in which positions or channels take shares of each other."""

from __future__ import annotations

from benchmarks.golden.twins import Twin

TWINS: dict[str, Twin] = {
    "external": Twin("external"),
}
