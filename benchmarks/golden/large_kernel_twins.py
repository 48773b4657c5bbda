"""Twins of the kinds with large kernels."""

from __future__ import annotations

from benchmarks.golden.twins import Twin

_MLKA = {  # the official order is by kernel, largest first
    "scale": "scale",
    **{f"norm.{part}": f"norm.{part}" for part in ("weight", "bias")},
    **{
        f"large.{i}.{j}.{part}": f"LKA{size}.{j}.{part}"
        for i, size in enumerate((3, 5, 7))
        for j in range(3)
        for part in ("weight", "bias")
    },
    **{f"small.{i}.{part}": f"X{size}.{part}" for i, size in enumerate((3, 5, 7)) for part in ("weight", "bias")},
    **{f"project_in.{part}": f"proj_first.0.{part}" for part in ("weight", "bias")},
    **{f"project_out.{part}": f"proj_last.0.{part}" for part in ("weight", "bias")},
}

TWINS: dict[str, Twin] = {
    "dlka": Twin("dlka"),
    "lka": Twin("lka"),
    "lsk": Twin("lsk"),
    "lsk_block": Twin("lsk_block"),
    **{f"lska_{size}": Twin("lska", {"kernel_size": size}) for size in (7, 11, 23, 35, 41, 53)},
    "mlka": Twin("mlka", keys=_MLKA),
    "msca": Twin("msca"),
    "msca_block": Twin("msca_block"),
    "van": Twin("van"),
}
