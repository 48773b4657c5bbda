"""Hold every attention kind against a folder of golden files.

    python -m benchmarks.golden FOLDER

Prints the largest difference of each file from the kind that computes the same: output, gradients of the input and of
the parameters, running statistics, in eval and train mode and in float64. The exit status is 1 if one differs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import awb
from awb.table import Table
from benchmarks.golden.check import check_file


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.golden", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of JSON files, each what some code computes on the recipe")
    folder = parser.parse_args().folder
    paths = sorted(folder.glob("*.json"))
    if not paths:
        parser.error(f"{folder}: no such folder, or no JSON file in it")
    verdicts = [check_file(path) for path in paths]
    rows = tuple(
        (v.file, v.kind or "–", ", ".join(map(str, v.channels)) or "–",
         "–" if v.difference is None else f"{v.difference:.1e}", "ok" if v.ok else "DIFFERS", v.reason)
        for v in verdicts
    )  # fmt: skip
    print(Table(("golden file", "kind", "channels", "largest difference", "", "reason"), rows))
    compared = [v for v in verdicts if v.difference is not None or not v.ok]
    equal = sum(v.ok for v in compared)
    missing = sorted(set(awb.list_attention()) - {v.kind.split(",")[0] for v in verdicts})
    if missing:
        print(f"kinds without a file here: {', '.join(missing)}")
    print(f"{equal} of {len(compared)} files equal, {len(verdicts) - len(compared)} no criterion")
    return 0 if equal == len(compared) else 1


if __name__ == "__main__":
    raise SystemExit(main())
