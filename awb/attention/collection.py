"""The kinds by their papers' definitions: importing this module registers them.

They are held against the official code by `python -m benchmarks.golden`. Those whose names are still those of timm's
layers (se, cbam, coord, gc, ela, eca, ese) are called paper_se, paper_cbam, … until the names change hands.
"""

from awb.attention.affinity import a2, criss_cross, danet, efficient, external
from awb.attention.channel import eca, ese, fca, gc, gct, grn, mlca, ms_cam, nam, se, srm
from awb.attention.large_kernel import dlka, lka, lsk, lska, mlka, msca, van
from awb.attention.spatial import (
    bam,
    caa,
    cbam,
    coord,
    cpca,
    ela,
    ema,
    gam,
    mca,
    polarized,
    scsa,
    scse,
    sge,
    shuffle,
    simam,
    strip_pooling,
    triplet,
)

__all__ = [
    "a2",
    "bam",
    "caa",
    "cbam",
    "coord",
    "cpca",
    "criss_cross",
    "danet",
    "dlka",
    "eca",
    "efficient",
    "ela",
    "ema",
    "ese",
    "external",
    "fca",
    "gam",
    "gc",
    "gct",
    "grn",
    "lka",
    "lsk",
    "lska",
    "mca",
    "mlca",
    "mlka",
    "ms_cam",
    "msca",
    "nam",
    "polarized",
    "scsa",
    "scse",
    "se",
    "sge",
    "shuffle",
    "simam",
    "srm",
    "strip_pooling",
    "triplet",
    "van",
]
