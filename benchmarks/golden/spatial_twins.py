"""Twins of the kinds that gate positions, or channels and positions together."""

from __future__ import annotations

from benchmarks.golden.twins import Twin

TWINS: dict[str, Twin] = {
    "caa": Twin("caa"),
    "cpca": Twin("cpca"),
    "ema_g32": Twin("ema", {"groups": 32}),
    "ema_g8": Twin("ema"),
    "polarized_parallel": Twin("polarized", {"variant": "official"}),
    "polarized_sequential": Twin("polarized", {"variant": "official", "mode": "sequential"}),
    "scsa": Twin("scsa"),
    "strip_pooling": Twin("strip_pooling"),
    "bam": Twin("bam", {"variant": "official"}),
    "bam_square": Twin("bam", {"variant": "official"}),
    "cbam": Twin("cbam"),
    "coord": Twin("coord"),
    "gam_port": Twin("gam"),
    "gam_port_grouped": Twin("gam", {"grouped": True, "channel_sigmoid": False}),
    "mca": Twin("mca"),
    "scse": Twin("scse", {"fusion": "max"}),
    "scse_smp": Twin("scse", {"reduction": 16}),
    "sge_g64": Twin("sge", {"groups": 64}),
    "sge_g8": Twin("sge"),
    "shuffle_g64": Twin("shuffle", {"groups": 64, "shuffle": True}),
    "shuffle_g8": Twin("shuffle", {"shuffle": True}),
    "simam": Twin("simam"),
    "triplet": Twin("triplet"),
}
