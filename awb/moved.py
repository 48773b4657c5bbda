"""Old paths of classes that have moved inside awb: whole models pickled by earlier versions name them.

The modules exist for `pickle` alone, and nothing else imports them.
"""

from __future__ import annotations

import sys
from types import ModuleType

from awb.attention.large_kernel.lka import LKA
from awb.attention.large_kernel.van import VANAttention
from awb.block_plan import PlannedBlock
from awb.hooks.changed_weights import KnownWeights
from awb.hooks.frozen_norms import FrozenNorm, KeepStatistics
from awb.hooks.guards import Guard, nobody
from awb.hooks.hosts import RunAfter, new_host
from awb.hooks.steps import NoteGrid, RunBlock
from awb.hooks.token_grid import TokenGrid
from awb.places import Site, Stage

_MOVED: dict[str, dict[str, object]] = {
    "awb.attention.lka": {"LKA": LKA},
    "awb.attention.van": {"VANAttention": VANAttention},
    "awb.changed_weights": {"KnownWeights": KnownWeights},
    "awb.frozen_norms": {"FrozenNorm": FrozenNorm, "KeepStatistics": KeepStatistics},
    "awb.guard": {"Guard": Guard, "_nobody": nobody},
    "awb.hosts": {"NoteGrid": NoteGrid, "RunAfter": RunAfter, "RunBlock": RunBlock, "_new_host": new_host},
    "awb.planned": {"PlannedBlock": PlannedBlock},
    "awb.stages.types": {"Site": Site, "Stage": Stage},
    "awb.token_grid": {"TokenGrid": TokenGrid},
}


def keep_old_paths() -> None:
    """Let `pickle` find the classes where they were when a model was saved."""
    for path, members in _MOVED.items():
        module = ModuleType(path, "A former module of awb, for old pickles.")
        vars(module).update(members)
        sys.modules[path] = module
