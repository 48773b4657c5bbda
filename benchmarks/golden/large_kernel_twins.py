"""Twins of the kinds with large kernels."""

from __future__ import annotations

from benchmarks.golden.twins import Twin

TWINS: dict[str, Twin] = {
    "lka": Twin("lka"),
    "van": Twin("van"),
}
