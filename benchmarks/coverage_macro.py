"""How often do intervals of macro means cover the truth? `python -m benchmarks.coverage --macro`.

Studies are simulated as in `benchmarks.coverage`, with many classes: the prevalences of NIH ChestX-ray14's official
test set, or 40 classes of 1 %. Scores are normal, shifted by 1.2 for positives, so that the limits of AUROC and AUPRC
for more and more patients are known. A class that fewer than five patients have is left out of its study, as in the
X-ray example. The second model of a comparison has a shift of 1.6 and scores that correlate with the first model's.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

import awb
from awb.study import Estimates, Interval, bias_corrected_interval, draw_replicates, estimate, percentile_interval
from benchmarks.nih_like import N_IMAGES, POSITIVES

Floats = npt.NDArray[np.float64]

METRICS: tuple[Literal["auroc", "auprc"], ...] = ("auroc", "auprc")
SHIFT, OTHER_SHIFT = 1.2, 1.6
CORRELATION = 0.7  # between the two models' scores
FEWEST = 5  # patients with a finding
LOWEST = 0.9  # required coverage of the macro intervals that are given
NIH = np.array(list(POSITIVES.values())) / N_IMAGES
Setting = tuple[str, Floats, int]  # a name, prevalences and a number of patients
SETTINGS: tuple[Setting, ...] = (
    ("NIH's", NIH, 400),
    ("NIH's", NIH, 1000),
    ("NIH's", NIH, 2797),
    ("40 of 1 %", np.full(40, 0.01), 1000),
)


@dataclass(frozen=True)
class Study:
    """Labels and two models' scores, (n, C), and the patient of each image, (n,)."""

    y_true: npt.NDArray[np.bool_]
    scores: Floats
    others: Floats
    patients: npt.NDArray[np.intp]


@dataclass(frozen=True)
class Given:
    """Interval of one study (None if there is none), with the estimate and the true value."""

    interval: Interval | None
    estimate: float
    truth: float


def simulate(rng: np.random.Generator, prevalence: Floats, n_patients: int) -> Study:
    """Simulate a study: labels and scores cluster in patients, who have 1 to 30 images."""
    patients = np.repeat(np.arange(n_patients), np.minimum(rng.geometric(0.2, n_patients), 30))
    n, c = len(patients), len(prevalence)

    def noise() -> Floats:
        of_patient, of_image = rng.normal(size=(n_patients, c))[patients], rng.normal(size=(n, c))
        return np.asarray(math.sqrt(0.5) * (of_patient + of_image))

    of_patient = rng.beta(2.5 * prevalence, 2.5 * (1 - prevalence), (n_patients, c))
    y_true = rng.random((n, c)) < of_patient[patients]
    shared = noise()
    others = CORRELATION * shared + math.sqrt(1 - CORRELATION**2) * noise()
    return Study(y_true, SHIFT * y_true + shared, OTHER_SHIFT * y_true + others, patients)


@cache
def true_auprc(prevalence: float, shift: float) -> float:
    """Expected precision at a positive's score: scores are N(shift, 1) for positives, N(0, 1) for negatives."""
    normal = NormalDist()
    at = np.linspace(-8, 8, 4001)  # a positive's score minus the shift
    density = np.array([normal.pdf(x) for x in at])
    called, false = (np.array([normal.cdf(-x) for x in values]) for values in (at, at + shift))
    precision = prevalence * called / (prevalence * called + (1 - prevalence) * false)
    return float((precision * density).sum() / density.sum())


def true_auroc(shift: float) -> float:
    return NormalDist().cdf(shift / math.sqrt(2))


def intervals(study: Study, prevalence: Floats, n_replicates: int, seed: int) -> Iterator[tuple[str, str, Given]]:
    """Intervals of one study: name of the quantity, kind of interval, and the interval itself."""
    use = [len(np.unique(study.patients[column])) >= FEWEST for column in study.y_true.T]
    y = study.y_true[:, use].astype(np.float64)
    replicates = draw_replicates(study.patients, n_replicates=n_replicates, seed=seed)
    shifts, scores = (SHIFT, OTHER_SHIFT), (study.scores[:, use], study.others[:, use])
    for metric in METRICS:
        name = metric.upper()
        truths, other_truths = (np.array([_truth(metric, float(p), d) for p in prevalence[use]]) for d in shifts)
        one, other = (estimate(y, given, replicates, metric=metric) for given in scores)
        for column, value, truth in zip(one.sampled.T, one.values, truths, strict=True):
            yield f"{name}, a class", "percentile", Given(percentile_interval(column), value, truth)
        means, value, truth = _macro(one.macro(), truths)
        yield f"{name}, macro", "percentile", Given(percentile_interval(means), value, truth)
        if metric == "auprc":
            yield f"{name}, macro", "bias-corrected", Given(bias_corrected_interval(means, value), value, truth)
        means, value, truth = _macro(other.minus(one).macro(), other_truths - truths)
        yield f"{name}, macro difference", "percentile", Given(percentile_interval(means), value, truth)


def _truth(metric: str, prevalence: float, shift: float) -> float:
    return true_auroc(shift) if metric == "auroc" else true_auprc(prevalence, shift)


def _macro(mean: Estimates, truths: Floats) -> tuple[Floats, float, float]:
    """A macro mean on each replicate and on all images, and its true value."""
    return mean.sampled[:, 0], float(mean.values[0]), float(truths.mean())


def measure(
    studies: int, n_replicates: int, seed: int, settings: Sequence[Setting] = SETTINGS
) -> tuple[awb.Table, bool]:
    """One row per setting, quantity and interval; whether the intervals of `evaluate` cover as often as required."""
    rows, kept = [], True
    for name, prevalence, n_patients in settings:
        rng = np.random.default_rng((seed, n_patients))
        found: dict[tuple[str, str], list[Given]] = defaultdict(list)
        for i in range(studies):
            for quantity, kind, given in intervals(simulate(rng, prevalence, n_patients), prevalence, n_replicates, i):
                found[quantity, kind].append(given)
        print(f"{name}, {n_patients:,} patients: done", file=sys.stderr, flush=True)
        for (quantity, kind), given in found.items():
            cells, covered = _summary(given)
            rows.append((name, n_patients, quantity, kind, *cells))
            if quantity == "AUROC, macro" or kind == "bias-corrected":
                kept &= covered is None or covered >= LOWEST
    headers = (
        "prevalences", "patients", "of", "interval", "given", "covered", "Monte-Carlo error (95 %)", "truth below",
        "truth above", "holds its estimate", "mean width",
    )  # fmt: skip
    note = f"{studies:,} studies of {n_replicates:,} replicates a setting, seed {seed}; covered: of those given"
    return awb.Table(headers, tuple(rows), (note,)), kept


def _summary(found: list[Given]) -> tuple[tuple[str, ...], float | None]:
    """Cells of a row, and the share of the intervals that cover the truth."""
    given = [one for one in found if one.interval is not None]
    share = f"{len(given) / len(found):.0%}"
    if not given:
        return (share, *["–"] * 6), None
    ends = np.array([one.interval for one in given])
    truth, estimate = (np.array([getattr(one, name) for one in given]) for name in ("truth", "estimate"))
    below, above = (ends[:, 0] > truth).mean(), (ends[:, 1] < truth).mean()
    covered = float(1 - below - above)
    error = 1.96 * math.sqrt(covered * (1 - covered) / len(given))
    holds = ((ends[:, 0] <= estimate) & (estimate <= ends[:, 1])).mean()
    cells = [share, f"{covered:.1%}", f"±{error:.1%}", f"{below:.1%}", f"{above:.1%}", f"{holds:.1%}"]
    return (*cells, f"{(ends[:, 1] - ends[:, 0]).mean():.3f}"), covered
