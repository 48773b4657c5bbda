"""Compare evaluated runs on the same test patients: the paired difference of each from the first, by finding."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from awb import AWBError
from awb.markup import in_markdown
from examples.chestxray14.commands.arguments import add_replicates_argument
from examples.chestxray14.data.study import synthetic_note
from examples.chestxray14.evaluation.compare import compare_runs
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun, read_evaluated
from examples.chestxray14.files.atomic import write_atomically


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


def _names(folders: Sequence[Path]) -> list[str]:
    """Short names: the folders' own, unless two are the same."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _headline(first: EvaluatedRun) -> list[str]:
    test = f"{len(first.test):,} test images of {first.n_patients:,} patients"
    leak = first.leak.note()  # the same in all that can be compared
    return [f"{synthetic_note(first.synthetic)}split {first.split.name}; {test}", *([leak] if leak else [])]
