"""Paired comparison of evaluated runs on the same test patients."""

from __future__ import annotations

import numpy as np

from awb import AWBError, Table
from awb.study import compare
from examples.chestxray14.data.supported_findings import FEWEST, unsupported_note
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun
from examples.chestxray14.evaluation.leak import percent


def compare_runs(
    a: EvaluatedRun, b: EvaluatedRun, *, names: tuple[str, str], metric: str = "auroc", n_replicates: int = 2000
) -> Table:
    """`awb.study.compare` of two runs on their test set, of the findings that enough patients have.

    Raises:
        AWBError: No finding is supported, or `require_comparable` refuses them.
    """
    require_comparable(a, b, names)
    use = a.supported
    if not use.any():
        raise AWBError(f"no finding has {FEWEST} test patients with it and {FEWEST} without; nothing can be compared")
    table = compare(
        a.test.labels[:, use], a.probs[:, use], b.probs[:, use], a.patients, names=names,
        metric=metric,  # type: ignore[arg-type]
        classes=np.array(a.test.classes)[use].tolist(), n_replicates=n_replicates,
    )  # fmt: skip
    return table.with_notes(*unsupported_note(a.test))


def require_comparable(a: EvaluatedRun, b: EvaluatedRun, names: tuple[str, str]) -> None:
    """Refuse two runs whose difference would not be one of the models.

    Raises:
        AWBError: Their test sets, labels or patients are not the same; or they have not seen the same part of the test
            set in training: the difference would be the leak's.
    """
    if a.test.classes != b.test.classes or not np.array_equal(a.test.images, b.test.images):
        raise AWBError(
            f"{names[0]} and {names[1]} have different test sets ({a.split.name}: {len(a.test):,} images; "
            f"{b.split.name}: {len(b.test):,}); only runs on the same test images can be compared"
        )
    for what, same in (
        ("labels", np.array_equal(a.test.labels, b.test.labels, equal_nan=True)),
        ("patients", np.array_equal(a.patients, b.patients)),
    ):
        if not same:
            raise AWBError(f"{names[0]} and {names[1]} have different {what} for the same test images")
    for what in ("images", "patients"):
        seen = getattr(a.leak, what), getattr(b.leak, what)
        if not np.array_equal(*seen):
            of = "test images" if what == "images" else "test images by their patients"
            shares = ", ".join(f"{name} {percent(mask)}" for name, mask in zip(names, seen, strict=True))
            raise AWBError(
                f"{names[0]} and {names[1]} have seen different parts of their {of} in training ({shares}), so they "
                "cannot be compared: the difference would be the leak's"
            )
