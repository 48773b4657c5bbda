"""What can each attention kind do? Small tasks with a known answer, every kind, equal budgets, two controls.

python -m benchmarks.abilities                       # all kinds, tasks and seeds; goes on where it ended
python -m benchmarks.abilities --kinds lka se        # some of them
python -m benchmarks.abilities --table --markdown    # what is there, without running anything
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import awb
from benchmarks.abilities.results import CSV, SEEDS, Result, table
from benchmarks.abilities.runs import run_all
from benchmarks.abilities.tasks import BY_NAME
from benchmarks.abilities.train import CONTROL, NONE
from benchmarks.csv_rows import read_rows
from benchmarks.environment import environment


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description="What can each attention kind do?")
    parser.add_argument("--kinds", nargs="+", default=_kinds(), metavar="KIND")
    parser.add_argument("--tasks", nargs="+", choices=BY_NAME, default=list(BY_NAME), metavar="TASK")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes, of one thread each")
    parser.add_argument("--out", type=Path, default=CSV, help="CSV file that grows row by row")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args(argv)
    if not args.table:
        done = {(one.kind, one.task, one.seed) for one in read_rows(args.out, Result)}
        wanted = [(k, t, s) for k in args.kinds for s in range(args.seeds) for t in args.tasks]
        run_all([one for one in wanted if one not in done], args.jobs, args.out)
    shown = [one for one in read_rows(args.out, Result) if one.kind in args.kinds and one.seed < args.seeds]
    result = table(shown, [BY_NAME[name] for name in args.tasks], args.seeds)
    print(result.to_markdown() if args.markdown else result)
    print(f"\n{environment('torch', 'timm')}; {sum(one.seconds for one in shown) / 60:.0f} minutes of one core")
    return 0


def _kinds() -> list[str]:
    """Controls, then the kinds by their papers, then timm's layers."""
    names = [name for name in awb.list_attention() if name != CONTROL]
    return [NONE, CONTROL, *sorted(names, key=lambda name: (name.startswith("timm_"), name))]


if __name__ == "__main__":
    raise SystemExit(main())
