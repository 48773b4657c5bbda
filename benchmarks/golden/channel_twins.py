"""Twins of the kinds that gate channels."""

from __future__ import annotations

from benchmarks.golden.twins import Twin

FLOAT32_FILTERS = 1e-6  # the official code stores its fixed filters in float32

TWINS: dict[str, Twin] = {
    "eca_k3": Twin("eca", {"kernel_size": 3}),
    "ese": Twin("ese"),
    "fca_14": Twin("fca", {"size": 14}, tolerance=FLOAT32_FILTERS),
    "fca_7": Twin("fca", tolerance=FLOAT32_FILTERS),
    "gc_r16": Twin("gc"),
    "gc_r16_mul": Twin("gc", {"fusion": "mul"}),
    "gct": Twin("gct"),
    "gct_l1": Twin("gct", {"norm": "l1"}),
    "grn": Twin("grn"),
    "mlca": Twin("mlca"),
    "ms_cam": Twin("ms_cam"),
    "nam": Twin("nam", {"variant": "official"}),
    "se_no_bias": Twin("se", {"bias": False}),
    "srm": Twin("srm"),
}
