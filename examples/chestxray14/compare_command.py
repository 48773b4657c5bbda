"""Compare evaluated runs on the same test patients: the paired difference of each from the first, by finding."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from awb.errors import AWBError
from awb.markup import in_markdown
from awb.study import compare
from awb.table import Table
from examples.chestxray14.arguments import add_replicates_argument
from examples.chestxray14.atomic import write_atomically
from examples.chestxray14.evaluated_run import EvaluatedRun, read_evaluated
from examples.chestxray14.leak import percent
from examples.chestxray14.study_data import synthetic_note
from examples.chestxray14.supported_findings import FEWEST, unsupported_note


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of evaluated runs; the first is A")
    parser.add_argument("--metric", choices=("auroc", "auprc"), default="auroc", help="(default: %(default)s)")
    add_replicates_argument(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the tables as Markdown")


def run(args: argparse.Namespace) -> int:
    if len(args.runs) < 2:
        raise AWBError("one run to compare; give two or more")
    if args.out and not args.out.parent.is_dir():
        raise AWBError(f"--out {args.out}: there is no folder {args.out.parent}")
    resolved = [path.resolve() for path in args.runs]
    twice = [str(path) for i, path in enumerate(args.runs) if resolved[i] in resolved[:i]]
    if twice:
        raise AWBError(f"{twice[0]} is given twice; a run differs from itself by nothing")
    runs = [read_evaluated(path) for path in args.runs]
    names = _names(args.runs)
    headline = _headline(runs[0])
    print("\n\n".join(headline))
    parts = [in_markdown(sentence) for sentence in headline]
    for name, other in zip(names[1:], runs[1:], strict=True):
        table = compare_runs(
            runs[0], other, names=(names[0], name), metric=args.metric, n_replicates=args.replicates
        )  # fmt: skip
        title = f"{name} against {names[0]}"
        print(f"\n## {title}\n\n{table}")
        parts.append(f"## {in_markdown(title)}\n\n{table.to_markdown()}")
    if args.out:
        write_atomically(args.out, ("\n\n".join(parts) + "\n").encode())
    return 0


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


def _names(folders: Sequence[Path]) -> list[str]:
    """Short names: the folders' own, unless two are the same."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _headline(first: EvaluatedRun) -> list[str]:
    test = f"{len(first.test):,} test images of {first.n_patients:,} patients"
    leak = first.leak.note()  # the same in all that can be compared
    return [f"{synthetic_note(first.synthetic)}split {first.split.name}; {test}", *([leak] if leak else [])]
