"""Train and evaluate all cells of the study, and write one report of them.

If killed at any moment, run the same command again to continue. One command runs all cells of an output folder: on this
machine, `--jobs` of them at once, with a GPU for each; on several machines with `--engine ray`. Or start several
commands, such as those of a SLURM array, each with its own `--shard K/N`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from awb import AWBError
from awb.errors import did_you_mean, shortlist
from examples.chestxray14.commands.arguments import above_zero, add_replicates_argument, at_least
from examples.chestxray14.commands.study_arguments import add_study_arguments, source_of
from examples.chestxray14.commands.train import add_training_arguments, trainer_options
from examples.chestxray14.data.study import StudySource
from examples.chestxray14.files.folders import make_folder
from examples.chestxray14.recipes.overrides import read_overrides
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.reproduction.shards import Shard, hold_shard

if TYPE_CHECKING:
    from examples.chestxray14.reproduction.engines.task import Engine
    from examples.chestxray14.reproduction.output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="folder for all runs and the report")
    add_study_arguments(parser)
    parser.add_argument(
        "--cells", nargs="+", default=[], metavar="RECIPE",
        help="name or shell pattern (`vgg16_bn-*-lka-*`), FILE.yaml, STUDY.yaml, STUDY.yaml:CELL (default: the study)",
    )  # fmt: skip
    add_training_arguments(parser)
    parser.add_argument(
        "--weights", action="append", default=[], metavar="BACKBONE=FILE",
        help="begin cells of a backbone with these weights, not the library's pretrained ones (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local",
        help="local: processes on this machine; ray: a Ray cluster (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", type=at_least(1), metavar="N",
        help="cells at once per machine, which split its cores and GPUs (default: 1; with ray one per GPU, or 1)",
    )  # fmt: skip
    parser.add_argument(
        "--address", help="address of a Ray cluster, or `auto` for the one on this machine (default: start one)"
    )
    parser.add_argument(
        "--shard", type=read_shard, default=Shard(), metavar="K/N",
        help="run every N-th cell, from the K-th; other commands may run the other shards at the same time",
    )  # fmt: skip
    add_replicates_argument(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the cells with the cost of each, and exit")
    parser.add_argument(
        "--tflops",
        type=above_zero,
        default=20.0,
        help="sustained speed in 10¹² operations per second, for --dry-run (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the cells and write the report; 1 if a cell failed, is unreadable, or has another recipe than requested."""
    # here, so that the other commands start without it
    from examples.chestxray14.reproduction.cells import estimate, find_cells
    from examples.chestxray14.reproduction.output import Output

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise AWBError("reproduce is not for a launcher: start it once, and give --jobs the number of GPUs")
    if args.address is not None and args.engine != "ray":
        raise AWBError(f"--address {args.address} is the address of a Ray cluster: give --engine ray with it")
    cells, source = find_cells(args.cells, read_overrides(args.set)), source_of(args)
    weights = read_weights(args.weights, cells)
    if args.dry_run:
        print(estimate(cells, map(source.study, cells.values()), args.tflops))
        return 0
    new = [recipe for cell, recipe in cells.items() if not Output(args.out).run(cell).info.exists()]
    source.require(new)
    make_folder(args.out)
    with hold_shard(args.out / "locks", args.shard, cells):
        return _reproduce(args, cells, source, weights)


def read_weights(texts: Sequence[str], cells: Mapping[str, Recipe]) -> dict[str, Path]:
    """Files of weights by the backbones that the recipes name.

    Raises:
        AWBError: A text is not `BACKBONE=FILE`, there is no such file, or no cell has the backbone or begins with
            pretrained weights of it.
    """
    known = sorted({recipe.model.backbone for recipe in cells.values() if recipe.model.pretrained})
    found: dict[str, Path] = {}
    for text in texts:
        backbone, equals, file = text.partition("=")
        if not equals or not Path(file).is_file():
            raise AWBError(f"--weights {text}: " + (f"no file {file}" if equals else "expected BACKBONE=FILE"))
        if backbone not in known or backbone in found:
            fault = "is given twice" if backbone in found else f"is no cell's{did_you_mean(backbone, known)}"
            raise AWBError(
                f"--weights {text}: {backbone} {fault}; cells with pretrained weights have {shortlist(known)}"
            )
        found[backbone] = Path(file).absolute()
    return found


def read_shard(text: str) -> Shard:
    """An argparse type: `K/N`, K from 1 to N."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text}: expected K/N with K from 1 to N, such as 2/8")
    return Shard(int(index), int(count))


def _reproduce(
    args: argparse.Namespace, cells: Mapping[str, Recipe], source: StudySource, weights: Mapping[str, Path]
) -> int:
    from examples.chestxray14.reproduction.driver import do_cells
    from examples.chestxray14.reproduction.output import Output
    from examples.chestxray14.reproduction.work import Job

    output, mine = Output(args.out), args.shard.of(cells)
    there, studies = Output(args.out.absolute()), _absolute(source)  # as another process finds them
    options, threads = trainer_options(args), _threads(args)
    jobs = [
        Job(there, cell, cells[cell], studies, options, args.replicates, threads, _weights_of(cells[cell], weights))
        for cell in mine
        if output.state(cell, cells[cell])[0] not in ("done", "of another recipe", "unreadable")
    ]
    done = do_cells(output, jobs, partial(_open_engine, args))
    states = {cell: output.state(cell, recipe)[0] for cell, recipe in cells.items()}
    counts = ", ".join(f"{list(states.values()).count(state)} {state}" for state in dict.fromkeys(states.values()))
    print(f"{done} cells done here; of {len(cells)} in all, {counts}")
    if args.shard.count > 1 and set(states.values()) != {"done"}:
        print(
            f"{args.shard} ends without a report: the shard that ends when all cells are done writes it, or the same "
            "command without --shard, of what is done"
        )
        return _status(states[cell] for cell in mine)
    return _report(output, cells, source, args.replicates)


def _weights_of(recipe: Recipe, weights: Mapping[str, Path]) -> Path | None:
    return weights.get(recipe.model.backbone) if recipe.model.pretrained else None


def _absolute(source: StudySource) -> StudySource:
    """The same files by absolute path, for processes that start in another folder."""
    return replace(
        source,
        folder=source.folder.absolute(),
        store=source.store.absolute(),
        table=source.table and source.table.absolute(),
        lists=source.lists and tuple(path.absolute() for path in source.lists),
    )


def _report(output: Output, cells: Mapping[str, Recipe], source: StudySource, n_replicates: int) -> int:
    from examples.chestxray14.files.locks import wait_for_lock
    from examples.chestxray14.reproduction.progress import Progress
    from examples.chestxray14.reproduction.report import write_report

    with wait_for_lock(output.locks / "report.lock"):  # two shards may end at the same moment
        report = write_report(output, cells, source, n_replicates, Progress(partial(print, flush=True)))
    print(f"\n{report.cells}\n\nreport: {report.page}")
    return _status(report.states.values())


def _status(states: Iterable[str]) -> int:
    return 1 if {"failed", "of another recipe", "unreadable"} & set(states) else 0


def _open_engine(args: argparse.Namespace) -> Engine:
    if args.engine == "ray":
        from examples.chestxray14.reproduction.engines.ray_tasks import RayEngine

        return RayEngine(args.jobs, args.address, partial(print, flush=True))
    from examples.chestxray14.reproduction.engines.local import LocalEngine

    return LocalEngine(args.jobs or 1, partial(print, flush=True))


def _threads(args: argparse.Namespace) -> int:
    """Number of torch threads per process; 0 keeps torch's own, as with Ray, which sets it."""
    several = args.engine == "local" and (args.jobs or 1) > 1
    return max(1, (os.cpu_count() or 1) // args.jobs) if several else 0
