"""The tasks ask what they say, and their table says "yes" only where the interval is above both controls'."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.abilities.results import Result, interval, table
from benchmarks.abilities.tasks import BY_NAME, TASKS
from benchmarks.abilities.train import CONTROL, NONE, run
from benchmarks.compared_page import on_page_markdown
from benchmarks.csv_rows import append_row, read_rows

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("d", [5, 11, 21, 40])
def test_the_answer_stands_at_its_distance_and_is_a_small_part_of_sums(d: int) -> None:
    sample = BY_NAME[f"distance {d}"].draw(4000, torch.Generator().manual_seed(0))
    assert sample.asked is not None
    n, row, column = sample.asked.nonzero(as_tuple=True)
    assert torch.equal(n, torch.arange(4000))
    label = sample.labels[n, row, column] * 2 - 1
    signs = sample.maps[:, 1].round()
    assert torch.equal(signs[n, row, column + d], label.float())
    of_row, of_map = signs[n, row].sum(dim=1), signs.sum(dim=(1, 2))
    for total, most in ((of_row, 0.6), (of_map, 0.57)):  # the answer is one of 48, or of 192, signs
        assert float((total.sign() == label).float().mean()) < most


def test_orientation_is_in_no_sum() -> None:
    sample = BY_NAME["orientation"].draw(2000, torch.Generator().manual_seed(0))
    assert float(sample.maps[:, 1].round().sum(dim=(1, 2)).abs().max()) == 0


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_labels_are_balanced_and_seeds_repeat(task: object) -> None:
    one, two = (task.draw(1000, torch.Generator().manual_seed(3)) for _ in range(2))  # type: ignore[attr-defined]
    assert torch.equal(one.maps, two.maps)
    labels = one.labels if one.asked is None else one.labels[one.asked]
    counts = torch.bincount(labels, minlength=task.classes) / len(labels)  # type: ignore[attr-defined]
    assert torch.allclose(counts, torch.full_like(counts, 1 / task.classes), atol=0.06)  # type: ignore[attr-defined]


def test_yes_needs_all_seeds_and_an_interval_above_the_controls() -> None:
    tasks = [BY_NAME["channels"]]
    scores = {
        NONE: [0.5, 0.52, 0.51], CONTROL: [0.6, 0.62, 0.61], "se": [0.9, 0.91, 0.92], "eca": [0.6, 0.63, 0.66],
        "ese": [0.7, 0.71, 0.72],
        "gct": [0.9, 0.9],
    }  # fmt: skip
    rows = [
        Result(kind, "channels", seed, score, 1.0) for kind, found in scores.items() for seed, score in enumerate(found)
    ]
    rows.append(Result("mlka", "channels", 0, None, 0.0, "48 is no multiple of 7"))
    shown = {row["kind"]: row["channels"] for row in table(rows, tasks, 3)}
    assert shown["se"] == "0.91 (0.89–0.93) yes"
    assert shown["eca"] == "0.63 (0.56–0.70)"
    assert shown["ese"] == "0.71 (0.69–0.73)"  # above the controls, but less than half of the way to 1
    assert shown["gct"] is None
    assert table(rows, tasks, 3).notes == ("mlka does not fit: 48 is no multiple of 7",)
    assert interval([0.5]) == (0.0, 1.0)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [Result("se", "place", 1, 0.75, 2.5), Result("scsa", "place", 0, None, 0.0, "maps, of 7×7")]
    for row in rows:
        append_row(tmp_path / "results.csv", row)
    assert read_rows(tmp_path / "results.csv", Result) == rows


def test_a_run_repeats() -> None:
    task = BY_NAME["counting"]
    short = type(task)(task.name, task.question, task.classes, task.draw, steps=3)
    assert run("se", short, 0)[0] == run("se", short, 0)[0]


def test_the_page_has_both_tables() -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="kinds-compared.md"))
    built = on_page_markdown((ROOT / "docs" / "kinds-compared.md").read_text(), page=page)
    assert "| lka |" in built
    assert "<!--" not in built
