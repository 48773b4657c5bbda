"""Many runs in a few processes of one thread each."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch

import awb
from benchmarks.abilities.results import Result
from benchmarks.abilities.tasks import BY_NAME
from benchmarks.abilities.train import run
from benchmarks.csv_rows import append_row


def run_all(wanted: list[tuple[str, str, int]], jobs: int, out: Path) -> None:
    """Run kinds on tasks with seeds, and add each result to the file as soon as it is there."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        runs = [pool.submit(_run, *one) for one in wanted]
        for number, future in enumerate(as_completed(runs), 1):
            one = future.result()
            append_row(out, one)
            score = one.refused if one.accuracy is None else f"{one.accuracy:.3f} in {one.seconds:.1f} s"
            print(f"{number}/{len(runs)} {one.kind}, {one.task}, seed {one.seed}: {score}", file=sys.stderr, flush=True)


def _run(kind: str, task: str, seed: int) -> Result:
    try:
        accuracy, seconds = run(kind, BY_NAME[task], seed)
    except awb.AWBError as error:
        return Result(kind, task, seed, None, 0.0, str(error))
    return Result(kind, task, seed, round(accuracy, 4), round(seconds, 2))
