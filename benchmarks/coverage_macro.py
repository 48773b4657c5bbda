"""How often do intervals of macro means hold the truth? `python -m benchmarks.coverage --macro`.

Studies as in `benchmarks.coverage`, with many classes: the prevalences of NIH ChestX-ray14's official test set, or 40
classes of 1 %. Scores are normal, shifted by 1.2 for positives, so that the AUROC and the AUPRC of more and more
patients are known. A class that fewer than five patients have is left out of its study, as the X-ray example does. The
second model of a comparison has a shift of 1.6, and scores that correlate with the first's.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

import awb
from awb.study import Interval, auprc, auroc, bias_corrected_interval, bootstrap, draw_replicates, percentile_interval
from benchmarks.nih_like import N_IMAGES, POSITIVES

Floats = npt.NDArray[np.float64]

SHIFT, OTHER_SHIFT = 1.2, 1.6
CORRELATION = 0.7  # of the two models' scores
FEWEST = 5  # patients with a finding
LOWEST = 0.9  # coverage that is asked of a macro interval that is given
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
    """An interval of a study, or None, with what it is of."""

    interval: Interval | None
    estimate: float
    truth: float


def simulate(rng: np.random.Generator, prevalence: Floats, n_patients: int) -> Study:
    """One study, with labels and scores that cluster in patients; a patient has 1 to 30 images."""
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
    """Mean precision over all positives there could be: scores are N(shift, 1) for positives, N(0, 1) for others."""
    normal = NormalDist()
    at = np.linspace(-8, 8, 4001)  # of a positive's score, less the shift
    density = np.array([normal.pdf(x) for x in at])
    called, false = (np.array([normal.cdf(-x) for x in values]) for values in (at, at + shift))
    precision = prevalence * called / (prevalence * called + (1 - prevalence) * false)
    return float((precision * density).sum() / density.sum())


def true_auroc(shift: float) -> float:
    return NormalDist().cdf(shift / math.sqrt(2))


def intervals(study: Study, prevalence: Floats, n_replicates: int, seed: int) -> Iterator[tuple[str, str, Given]]:
    """What each is of, its kind, and the interval itself."""
    use = [len(np.unique(study.patients[column])) >= FEWEST for column in study.y_true.T]
    y = study.y_true[:, use].astype(np.float64)
    replicates = draw_replicates(study.patients, n_replicates=n_replicates, seed=seed)
    areas = np.full(sum(use), true_auroc(SHIFT))
    precisions, others = (np.array([true_auprc(float(p), d) for p in prevalence[use]]) for d in (SHIFT, OTHER_SHIFT))

    sampled = bootstrap(y, study.scores[:, use], replicates, metric="auroc")
    values = auroc(y, study.scores[:, use])
    for c, column in enumerate(sampled.T):
        yield "AUROC, a class", "percentile", Given(percentile_interval(column), values[c], areas[c])
    mean, estimate, truth = sampled.mean(axis=1), float(values.mean()), float(areas.mean())
    yield "AUROC, macro", "percentile", Given(percentile_interval(mean), estimate, truth)
    differences = bootstrap(y, study.others[:, use], replicates, metric="auroc") - sampled
    estimate, truth = float(auroc(y, study.others[:, use]).mean()) - estimate, true_auroc(OTHER_SHIFT) - truth
    difference = Given(percentile_interval(differences.mean(axis=1)), estimate, truth)
    yield "AUROC, macro difference", "percentile", difference

    sampled = bootstrap(y, study.scores[:, use], replicates, metric="auprc")
    values = auprc(y, study.scores[:, use])
    for c, column in enumerate(sampled.T):
        yield "AUPRC, a class", "percentile", Given(percentile_interval(column), values[c], precisions[c])
    mean, estimate, truth = sampled.mean(axis=1), float(values.mean()), float(precisions.mean())
    yield "AUPRC, macro", "percentile", Given(percentile_interval(mean), estimate, truth)
    yield "AUPRC, macro", "bias-corrected", Given(bias_corrected_interval(mean, estimate), estimate, truth)

    differences = bootstrap(y, study.others[:, use], replicates, metric="auprc") - sampled
    estimate, truth = float(auprc(y, study.others[:, use]).mean()) - estimate, float(others.mean()) - truth
    difference = Given(percentile_interval(differences.mean(axis=1)), estimate, truth)
    yield "AUPRC, macro difference", "percentile", difference


def measure(
    studies: int, n_replicates: int, seed: int, settings: Sequence[Setting] = SETTINGS
) -> tuple[awb.Table, bool]:
    """A row a setting, metric and interval; whether those of `awb.study.evaluate` keep their promise."""
    rows, kept = [], True
    for name, prevalence, n_patients in settings:
        rng = np.random.default_rng((seed, n_patients))
        found: dict[tuple[str, str], list[Given]] = defaultdict(list)
        for i in range(studies):
            for of, kind, given in intervals(simulate(rng, prevalence, n_patients), prevalence, n_replicates, i):
                found[of, kind].append(given)
        print(f"{name}, {n_patients:,} patients: done", file=sys.stderr, flush=True)
        for (of, kind), given in found.items():
            cells, covered = _summary(given)
            rows.append((name, n_patients, of, kind, *cells))
            if of == "AUROC, macro" or kind == "bias-corrected":
                kept &= covered is None or covered >= LOWEST
    headers = (
        "prevalences", "patients", "of", "interval", "given", "covered", "Monte-Carlo error (95 %)", "truth below",
        "truth above", "holds its estimate", "mean width",
    )  # fmt: skip
    note = f"{studies:,} studies of {n_replicates:,} replicates a setting, seed {seed}; covered: of those given"
    return awb.Table(headers, tuple(rows), (note,)), kept


def _summary(found: list[Given]) -> tuple[tuple[str, ...], float | None]:
    """Cells of a row, and the share of the intervals that hold the truth."""
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
