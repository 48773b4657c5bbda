"""How often does a 95 % interval cover the true AUROC, when patients have several images?

    python -m benchmarks.coverage
    python -m benchmarks.coverage --macro

1,000 studies are simulated for each row. A patient has 1 to 30 images and a prevalence of its own. The score of an
image is 1.2·y + a term of the patient + a term of the image, both normal with variance 0.5. So the AUROC of images of
different patients is Φ(1.2 / √2), known exactly: the limit of the AUROC for more and more patients. Each study has two
intervals: the bootstrap draws patients, or it draws images as if they were independent. Exits with 1 if, with 400
patients, the former does not cover the true AUROC in 93–97 % of the studies, or the latter does. `--macro` measures
means over classes, of AUROC and AUPRC: see `benchmarks.coverage_macro`.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import awb
from awb.study import Interval, bootstrap, draw_replicates, percentile_interval
from benchmarks import coverage_macro
from benchmarks.environment import environment

SHIFT = 1.2
TRUE_AUROC = 0.5 * (1 + math.erf(SHIFT / 2))  # Φ(SHIFT / √2): positive − negative is normal with variance 2
BAND = (0.93, 0.97)
REQUIRED = 400


@dataclass(frozen=True)
class Study:
    """One class: labels, scores and patients, (n,) each."""

    y_true: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]
    patients: npt.NDArray[np.intp]


def simulate(rng: np.random.Generator, n_patients: int) -> Study:
    """Simulate a study: labels and scores cluster in patients."""
    sizes = np.minimum(rng.geometric(0.2, n_patients), 30)
    patients = np.repeat(np.arange(n_patients), sizes)
    prevalence = rng.beta(0.5, 2.0, n_patients)  # mean 20 %, very different from patient to patient
    y_true = rng.random(len(patients)) < prevalence[patients]
    of_patient, of_image = rng.normal(size=n_patients)[patients], rng.normal(size=len(patients))
    return Study(y_true, SHIFT * y_true + math.sqrt(0.5) * (of_patient + of_image), patients)


def intervals(study: Study, n_replicates: int, seed: int) -> tuple[Interval, Interval]:
    """Intervals of one study, by patients and by images."""
    found = []
    for groups in (study.patients, np.arange(len(study.patients))):
        replicates = draw_replicates(groups, n_replicates=n_replicates, seed=seed)
        interval = percentile_interval(bootstrap(study.y_true, study.scores, replicates)[:, 0])
        assert interval is not None
        found.append(interval)
    return found[0], found[1]


def simulate_intervals(n_patients: int, studies: int, n_replicates: int, seed: int) -> npt.NDArray[np.float64]:
    """Low and high ends of all studies' intervals, (studies, 2 units, 2 ends): by patients, then by images."""
    rng = np.random.default_rng((seed, n_patients))
    return np.array([intervals(simulate(rng, n_patients), n_replicates, i) for i in range(studies)])


def measure(sizes: tuple[int, ...], studies: int, n_replicates: int, seed: int) -> tuple[awb.Table, bool]:
    """One row per number of patients and drawn unit; whether the required intervals cover as they should."""
    rows, kept = [], True
    for n_patients in sizes:
        ends = simulate_intervals(n_patients, studies, n_replicates, seed)
        for drawn, (low, high) in zip(("patients", "images"), np.moveaxis(ends, 0, -1), strict=True):
            below, above = (low > TRUE_AUROC).mean(), (high < TRUE_AUROC).mean()
            covered = 1 - below - above
            error = 1.96 * math.sqrt(covered * (1 - covered) / studies)
            shares = [f"{covered:.1%}", f"±{error:.1%}", f"{below:.1%}", f"{above:.1%}"]
            rows.append((n_patients, drawn, *shares, f"{(high - low).mean():.3f}"))
            if n_patients == REQUIRED:
                kept &= (BAND[0] <= covered <= BAND[1]) == (drawn == "patients")
    headers = ("patients", "drawn", "covered", "Monte-Carlo error (95 %)", "truth below", "truth above", "mean width")
    note = f"true AUROC {TRUE_AUROC:.4f}; {studies:,} studies of {n_replicates:,} replicates a row, seed {seed}"
    return awb.Table(headers, tuple(rows), (note,)), kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--macro", action="store_true", help="means over classes instead, of AUROC and AUPRC")
    parser.add_argument("--patients", type=int, nargs="+", default=[50, 100, 200, REQUIRED, 800])
    parser.add_argument("--studies", type=int, help="1,000, or 400 with --macro")
    parser.add_argument("--replicates", type=int, help="as many")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    usual = 400 if args.macro else 1000
    counts = args.studies or usual, args.replicates or usual, args.seed
    table, kept = coverage_macro.measure(*counts) if args.macro else measure(tuple(args.patients), *counts)
    print(table.to_markdown())
    print(environment("numpy", "scipy", "scikit-learn"))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
