"""Does attach_awb work on every architecture of timm and torchvision?

    python -m benchmarks.zoo_coverage --minutes 30 --jobs 2     # run what benchmarks/zoo_coverage.csv lacks
    python -m benchmarks.zoo_coverage --report                   # summarise the file

Each architecture is built with cheap deterministic weights and run in a process of its own batch, with a time limit:
stages found; attached at the last live stage and at all live ones, and what `tests.contract` lists checked at both.
Networks of more than 100 M parameters are only traced and attached on meta tensors ("meta" in the row).
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from benchmarks.csv_rows import header, parse_rows, read_rows

CSV = Path(__file__).with_suffix(".csv")
BATCH = 4
SECONDS_EACH = 300  # the largest take a minute alone, and longer under other load
LARGEST = 100_000_000  # parameters


@dataclass
class Row:
    """Result for one architecture; `status` is works, refused or fails, `detail` the reason."""

    library: str
    architecture: str
    file: str = ""
    parameters: int = 0
    tensors: str = ""  # real or meta
    input_size: str = ""
    stages: int = 0
    live: int = 0
    status: str = "fails"
    detail: str = ""
    seconds: float = 0.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the architectures that are missing from the file, or report on it; exit with 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="start no batch after this long")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--only", default="", help="only architectures whose library:name contains this")
    parser.add_argument("--report", action="store_true", help="only print what the file says")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker:
        work(args.worker)
        return 0
    if not args.report:
        run_missing(args.minutes, args.jobs, args.only)
    return report()


def architectures() -> list[str]:
    """Names of all architectures, as `library:name`."""
    import timm
    import torchvision

    ours = [f"torchvision:{name}" for name in torchvision.models.list_models(module=torchvision.models)]
    return ours + [f"timm:{name}" for name in timm.list_models()]


def read() -> dict[str, Row]:
    return by_name(read_rows(CSV, Row))


def by_name(rows: Sequence[Row]) -> dict[str, Row]:
    return {f"{row.library}:{row.architecture}": row for row in rows}


def write(rows: dict[str, Row]) -> None:
    with CSV.open("w", newline="") as file:
        writer = csv.DictWriter(file, header(Row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(rows[name]) for name in sorted(rows))


def run_missing(minutes: float, jobs: int, only: str) -> None:
    rows, lock, end = read(), Lock(), time.monotonic() + 60 * minutes
    missing = iter([name for name in architectures() if name not in rows and only in name])

    def serve() -> None:
        while time.monotonic() < end:
            with lock:
                batch = list(islice(missing, BATCH))
            if not batch:
                return
            found = run_batch(batch)
            with lock:
                rows.update(found)
                write(rows)
                print(f"{len(rows)} done; {', '.join(f'{n} {r.status}' for n, r in found.items())}", flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        for job in [pool.submit(serve) for _ in range(jobs)]:
            job.result()


def run_batch(names: list[str]) -> dict[str, Row]:
    """Rows of a batch. If the process dies or stalls, its architecture fails and the rest is run again."""
    found: dict[str, Row] = {}
    while names:
        command = [sys.executable, "-m", "benchmarks.zoo_coverage", "--worker", *names]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_EACH * len(names))
            output, end = result.stdout, f"the process ended with {result.returncode}"
        except subprocess.TimeoutExpired as error:
            output = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
            end = "time ran out"
        found |= by_name(parse_rows(output.splitlines(), Row))
        names = [name for name in names if name not in found]
        if names:
            library, _, architecture = names[0].partition(":")
            found[names[0]] = Row(library, architecture, detail=end)
            names = names[1:]
    return found


def report() -> int:
    rows = read()
    counts = Counter(row.status for row in rows.values())
    total = len(architectures())
    print(f"{len(rows)} of {total} architectures tried: " + ", ".join(f"{n} {s}" for s, n in counts.most_common()))
    for name, row in rows.items():
        if row.status != "works":
            print(f"{row.status}  {name}: {row.detail}")
    return 1 if counts["fails"] else 0


# --- in the worker ---------------------------------------------------------------------------------------------------


def work(names: list[str]) -> None:
    import torch

    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    writer = csv.DictWriter(sys.stdout, header(Row), lineterminator="\n")
    for name in names:
        library, _, architecture = name.partition(":")
        row, start = Row(library, architecture), time.monotonic()
        try:
            examine(row)
        except Exception as error:  # the row says what went wrong
            row.status, row.detail = "fails", f"{type(error).__name__}: {error}".replace("\n", " ")[:300]
        row.seconds = round(time.monotonic() - start, 1)
        writer.writerow(asdict(row))
        sys.stdout.flush()


def examine(row: Row) -> None:
    """Examine an architecture and fill in its row."""
    import torch

    import awb

    with torch.device("meta"):
        try:
            model = build(row)
        except (NotImplementedError, RuntimeError):  # some constructors read values: torchvision's RegNets
            with torch.device("cpu"), _no_random_init():
                model = build(row)
    row.parameters = sum(p.numel() for p in model.parameters())
    real = row.parameters <= LARGEST
    row.tensors = "real" if real else "meta"
    if real:
        with _no_random_init():
            model = build(row)
        set_weights(model)
    else:
        model = model.to("meta")
    model.eval()
    size, stages = smallest_size(model)
    row.input_size = "×".join(map(str, size))
    row.stages, row.live = len(stages), sum(stage.live for stage in stages)
    try:
        awb.plan_awb(model, selected("last", stages, real), input_size=size, allow_dead=not real)
    except awb.AWBError as error:
        row.status, row.detail = "refused", str(error)[:300]
        return
    if real:
        tame(model, size, [site.module for stage in stages for site in stage.sites])
    check(model, size, stages, real)
    row.status = "works"


def build(row: Row) -> Any:
    if row.library == "timm":
        import timm

        row.file = timm.models._registry._model_to_module[row.architecture]
        return timm.create_model(row.architecture, pretrained=False, num_classes=10)
    import torchvision

    row.file = torchvision.models.get_model_builder(row.architecture).__module__.rpartition(".")[2]
    extra = {"init_weights": False} if row.architecture in ("inception_v3", "googlenet") else {}
    return torchvision.models.get_model(row.architecture, weights=None, num_classes=10, **extra)


@contextmanager
def _no_random_init() -> Iterator[None]:
    """Skip random initialisation: it takes most of the time, and the weights are overwritten anyway."""
    import torch
    from torch.overrides import TorchFunctionMode

    skipped = {torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.erfinv_}

    class Skip(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            # zeros, not what memory holds: trunc_normal_ draws again until all values are in range
            return args[0].zero_() if func in skipped else func(*args, **(kwargs or {}))

    with Skip():
        yield


def set_weights(model: Any) -> None:
    """Set small deterministic weights, none of them zero: some classifiers and gates are initialised to zero."""
    import torch

    base = torch.randn(65_537, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():
            count = parameter.numel()
            noise = base.repeat(count // len(base) + 1)[:count].view(parameter.shape)
            if parameter.ndim > 1:
                parameter.copy_(noise / max(1, parameter[0].numel()) ** 0.5)
            elif parameter.abs().mean() < 0.1:
                parameter.copy_(0.1 * noise)


def tame(model: Any, size: tuple[int, int], modules: list[str]) -> None:
    """Halve the weights until no map at a site is huge: a residual network may double its values in every block."""
    import torch

    largest: list[float] = []

    def measure(module: Any, args: Any, output: Any) -> None:
        tensors = [t for t in torch.utils._pytree.tree_leaves(output) if isinstance(t, torch.Tensor)]
        largest.extend(float(t.abs().max()) for t in tensors if t.is_floating_point())

    hooks = [model.get_submodule(name).register_forward_hook(measure) for name in modules]
    with torch.no_grad():
        for _ in range(5):
            largest.clear()
            model(torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)))
            if max(largest) < 1e8:
                break
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(0.5)
    for hook in hooks:
        hook.remove()


def smallest_size(model: Any) -> tuple[tuple[int, int], list[Any]]:
    """Smallest image size tried at which stages are found and no map is a single position, with those stages."""
    import awb
    from awb.stages.example_inputs import default_size

    default = default_size(model)
    for size in [(s, s) for s in (64, 96, 128, 160) if s < max(default)]:
        try:
            stages = awb.find_stages(model, input_size=size)
        except awb.AWBError:
            continue
        if all(min(site.grid) > 1 for stage in stages for site in stage.sites):
            return size, stages
    return default, awb.find_stages(model)


def selected(placement: str, stages: list[Any], real: bool) -> Any:
    """Selector, or on meta tensors its live stages: resolving it again would take minutes."""
    live = [stage for stage in stages if stage.live]
    return placement if real or not live else live[-1:] if placement == "last" else live


def check(model: Any, size: tuple[int, int], stages: list[Any], real: bool) -> None:
    """Raise AssertionError unless attaching keeps every promise."""
    import torch

    from tests.contract import check_contract
    from tests.helpers import calibrate

    batch = 2 if any(getattr(m, "running_mean", None) is not None for m in model.modules()) else 1
    images = torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))
    if real:
        calibrate(model, images)
    else:
        images = images.to("meta")
    check_contract(model, images, [selected(placement, stages, real) for placement in ("last", "all")])


if __name__ == "__main__":
    raise SystemExit(main())
