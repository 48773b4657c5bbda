"""Twins of the kinds in which positions or channels take shares of each other."""

from __future__ import annotations

from benchmarks.golden.twins import Twin

TWINS: dict[str, Twin] = {
    "a2_port": Twin("a2", {"c_m": 128, "c_n": 128, "shortcut": False}),
    "criss_cross": Twin("criss_cross", {"recurrence": 1}),
    "criss_cross_twice": Twin("criss_cross"),
    "danet_channel": Twin("danet_channel", {"variant": "official"}),
    "danet_position": Twin("danet_position"),
    "efficient": Twin("efficient"),
    "external": Twin("external"),
}
