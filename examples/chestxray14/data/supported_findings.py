"""Which findings have patients enough for a figure to mean something."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from awb.study import LabelTable

FEWEST = 5  # patients with a finding, and without: with fewer, 1 of 150 replicates and more has none of them


def supported(table: LabelTable, fewest: int = FEWEST) -> npt.NDArray[np.bool_]:
    """The findings, (C,), that enough of a table's patients have, and have not.

    Args:
        table: With patients.
        fewest: Of them; with 1, those of which the table has both labels.
    """
    assert table.groups is not None
    counts = [[len(np.unique(table.groups[column == value])) for value in (0, 1)] for column in table.labels.T]
    return np.asarray([min(both) >= fewest for both in counts], dtype=np.bool_)


def unsupported(table: LabelTable) -> list[str]:
    """The names of the others."""
    return [name for name, ok in zip(table.classes, supported(table), strict=True) if not ok]


def unsupported_note(table: LabelTable) -> tuple[str, ...]:
    """A note that names the others, or none."""
    names = unsupported(table)
    return (f"left out, since fewer than {FEWEST} patients have it or have it not: {', '.join(names)}",) * bool(names)
