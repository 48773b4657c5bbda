"""Compare evaluated runs on the same test patients: paired differences from the first run, per finding."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from awb import AWBError
from examples.chestxray14.commands.arguments import add_replicates_argument
from examples.chestxray14.evaluation.compare import (
    METRICS,
    compare_with_first,
    comparison_headline,
    read_to_compare,
    save_comparison,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of evaluated runs; the first is A")
    parser.add_argument(
        "--metric", choices=tuple(dict.fromkeys(itertools.chain(*METRICS.values()))),
        help="metric to compare (default: auroc of findings, accuracy of classes)",
    )  # fmt: skip
    add_replicates_argument(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the tables as Markdown")


def run(args: argparse.Namespace) -> int:
    """Print one table per run after the first."""
    if args.out and not args.out.parent.is_dir():
        raise AWBError(f"--out {args.out}: there is no folder {args.out.parent}")
    runs = read_to_compare(args.runs)
    headline = comparison_headline(next(iter(runs.values())))
    print("\n\n".join(headline))
    tables = {}
    for title, table in compare_with_first(runs, metric=args.metric, n_replicates=args.replicates):
        print(f"\n## {title}\n\n{table}", flush=True)
        tables[title] = table
    if args.out:
        save_comparison(args.out, headline, tables)
    return 0
