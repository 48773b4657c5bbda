"""Train and evaluate all cells of the study, and write one report of them.

Killed at any moment, the same command goes on. Any number of processes, on any number of machines, may share the
output folder: no cell is done twice. With several GPUs, give `--jobs` their number: each process has one of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from awb import AWBError
from examples.chestxray14.commands.arguments import above_zero, add_replicates_argument, at_least
from examples.chestxray14.commands.study_arguments import add_study_arguments, source_of
from examples.chestxray14.commands.train import add_training_arguments
from examples.chestxray14.data.study import StudySource
from examples.chestxray14.recipes.overrides import read_overrides
from examples.chestxray14.recipes.schema import Recipe

if TYPE_CHECKING:
    from examples.chestxray14.reproduction.work import Output
    from examples.chestxray14.workers import WorkersKilledError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="the folder of all runs and the report; it may be shared")
    add_study_arguments(parser)
    parser.add_argument(
        "--cells", nargs="+", default=[], metavar="RECIPE",
        help="names, as in a shell (`vgg16_bn-*-lka-*`), FILE.yaml, STUDY.yaml, STUDY.yaml:CELL; by default the study",
    )  # fmt: skip
    add_training_arguments(parser)
    parser.add_argument(
        "--jobs", type=at_least(1), default=1, help="processes here, which part cores and GPUs (default: 1)"
    )
    add_replicates_argument(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the cells with what each would cost, and end")
    parser.add_argument(
        "--tflops", type=above_zero, default=20.0, help="10¹² operations a second, for --dry-run (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Do what can be done; 1 if a cell failed, cannot be read, or is of another recipe than is asked for."""
    # here, so that the other commands start without it
    from examples.chestxray14.reproduction.cells import estimate, find_cells

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise AWBError("reproduce is not for a launcher: start one process for each GPU, without it; they share cells")
    cells, source = find_cells(args.cells, read_overrides(args.set)), source_of(args)
    if args.dry_run:
        print(estimate(cells, map(source.study, cells.values()), args.tflops))
        return 0
    source.require()
    return _reproduce(args, cells, source)


def _reproduce(args: argparse.Namespace, cells: Mapping[str, Recipe], source: StudySource) -> int:
    from examples.chestxray14.reproduction.devices import use_device_of_slot
    from examples.chestxray14.reproduction.report import write_report
    from examples.chestxray14.reproduction.work import Job, Output, work
    from examples.chestxray14.training.trainer import TrainerOptions
    from examples.chestxray14.workers import WorkersKilledError, run_all

    output = Output(args.out)
    output.path.mkdir(parents=True, exist_ok=True)
    threads = max(1, (os.cpu_count() or 1) // args.jobs) if args.jobs > 1 else 0
    job = Job(
        output, cells, source, TrainerOptions(args.workers, args.checkpoint_every), args.replicates, threads
    )  # fmt: skip
    done, killed = 0, False
    try:
        for number in run_all(work, [job] * args.jobs, args.jobs, use_device_of_slot):
            done += number
    except WorkersKilledError as error:
        killed = True
        _say_who_was_killed(error, output)
    states = [output.state(cell, recipe)[0] for cell, recipe in cells.items()]
    print(f"{done} cells done here; of {len(cells)} in all, " + ", ".join(
        f"{states.count(state)} {state}" for state in dict.fromkeys(states)
    ))  # fmt: skip
    report = write_report(output, cells, source, args.replicates)
    print(f"\n{report.cells}\n\nreport: {report.page}")
    wrong = {"failed", "of another recipe", "unreadable", *(["begun", "not begun"] if killed else [])}
    return 1 if wrong & set(report.states.values()) else 0


def _say_who_was_killed(error: WorkersKilledError, output: Output) -> None:
    """Each process with the cell that it was at: another may have done that since."""
    from examples.chestxray14.reproduction.claims import claimed_by

    for one in error.killed:
        cell = claimed_by(output.claims, one.pid)
        print(f"a process {one.how}" + (f" in cell {cell}" if cell else ""), file=sys.stderr)
    print(
        "the others went on; if cells are left, run the same command again, and it goes on; with fewer --jobs if "
        "memory was short", file=sys.stderr
    )  # fmt: skip
