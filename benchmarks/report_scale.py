"""How long does the report of a whole study take, how much memory, and what grows how?

    python -m benchmarks.report_scale FOLDER --cells 28 56 111 --share 0.5 1

Simulates finished runs (`simulated_runs.py`): at share 1 25,596 test images of 2,797 patients, 14 findings, 2,000
bootstrap replicates. Then a process writes the report of the first cells, of more, and of all. Memory is that of this
process and its children together, sampled every 0.2 s, with a page that several of them share counted once (PSS), and
several times (RSS). CPU seconds do not depend on what else the machine does; seconds do.

Left out, since no image is real and networks are tiny: the time of Grad-CAM by networks of the study's size, and maps
against boxes. All else is the report as it is: reading and checking each cell, results, contrasts, curves, label
figures, the page.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

import awb
from benchmarks.environment import environment
from benchmarks.simulated_runs import write_data, write_run, write_study
from examples.chestxray14.reproduction.cells import find_cells
from examples.chestxray14.reproduction.output import Output
from examples.chestxray14.reproduction.progress import Progress
from examples.chestxray14.reproduction.report import write_report

MOST_SECONDS, MOST_MB = 600, 2000
_SAMPLED = 0.2  # seconds


def simulate(folder: Path, share: float, n_cells: int) -> None:
    """Write the data and the runs of the first cells, unless they are there."""
    source = write_data(folder, share)
    write_study(folder / "study.yaml")
    words: dict[str, bytes] = {}
    for name, recipe in list(find_cells([str(folder / "study.yaml")]).items())[:n_cells]:
        write_run(Output(folder / "out"), name, recipe, source, words)


def measure(folder: Path, share: float, n_cells: int) -> dict[str, Any]:
    """Write a report in a process of its own: seconds, peak memory of it and its children, and its parts' seconds."""
    command = [sys.executable, "-m", "benchmarks.report_scale", str(folder), "--write", str(share), str(n_cells)]
    started, before = time.monotonic(), _cpu_of_children()
    pss = rss = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            shared_once, resident = _memory(psutil.Process(process.pid))
            pss, rss = max(pss, shared_once), max(rss, resident)
            time.sleep(_SAMPLED)
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    if process.returncode:
        raise SystemExit(f"the report ended with {process.returncode}")
    content = json.loads(lines[-1])
    return {
        "test images": content["test images"], "seconds": round(time.monotonic() - started),
        "CPU seconds": round(_cpu_of_children() - before), "peak MB": round(pss / 1e6),
        "peak RSS, MB": round(rss / 1e6),
        "page, MB": round(content["page"], 1), **{part: round(spent) for part, spent in content["parts"].items()},
    }  # fmt: skip


def write(folder: Path, share: float, n_cells: int) -> None:
    """Write the report of the first cells in this process, and print the seconds of its parts as JSON."""
    begun: list[tuple[str, float]] = []
    progress = Progress(lambda line: begun.append((line, time.monotonic())), bars=False)
    cells = dict(list(find_cells([str(folder / "study.yaml")]).items())[:n_cells])
    report = write_report(Output(folder / "out"), cells, write_data(folder, share), progress=progress)
    parts: dict[str, float] = {}
    for (line, start), (_, end) in zip(begun, [*begun[1:], ("", time.monotonic())], strict=True):
        part = line.removeprefix("report: ").split(",")[0]
        parts[part] = parts.get(part, 0) + end - start
    test = next(iter(report.cells))["test images"]
    print(json.dumps({"test images": test, "page": report.page.stat().st_size / 1e6, "parts": parts}))


def _memory(process: psutil.Process) -> tuple[int, int]:
    """Bytes of a process and its children: PSS and RSS."""
    pss = rss = 0
    try:
        for one in (process, *process.children(recursive=True)):
            found = one.memory_full_info()
            pss, rss = pss + found.pss, rss + found.rss
    except psutil.Error:  # one ended just now
        pass
    return pss, rss


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for the simulated runs, which are kept")
    parser.add_argument("--cells", type=int, nargs="+", default=[111])
    parser.add_argument("--share", type=float, nargs="+", default=[1.0], help="share of NIH's images")
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        write(args.folder, float(args.write[0]), int(args.write[1]))
        return 0
    found = []
    for share in args.share:
        folder = args.folder / f"share-{share:g}"
        simulate(folder, share, max(args.cells))
        found += [{"cells": n_cells, **measure(folder, share, n_cells)} for n_cells in args.cells]
    headers = tuple(dict.fromkeys(header for one in found for header in one))
    print(awb.Table(headers, tuple(tuple(one.get(header) for header in headers) for one in found)).to_markdown())
    print(environment("numpy", "scipy", "scikit-learn", "matplotlib", "markdown"))
    last = found[-1]
    return 0 if last["seconds"] <= MOST_SECONDS and last["peak MB"] <= MOST_MB else 1


if __name__ == "__main__":
    sys.exit(main())
