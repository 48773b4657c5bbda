"""A metric of each class with its bootstrap replicates: means, paired differences, intervals and p-values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.array_types import Bools, Floats
from awb.study.metrics.bootstrap import Metric, bootstrap
from awb.study.metrics.cases import Cases, Undefined, check_cases, require_both_labels
from awb.study.metrics.intervals import Interval, holding, percentile_interval
from awb.study.metrics.p_values import bootstrap_p
from awb.study.metrics.ranking import each_class, macro
from awb.study.metrics.replicates import Replicates
from awb.study.no_finding import findings_among


@dataclass(frozen=True, eq=False)
class Estimates:
    """A metric of each class on all images, θ̂ (C,), and on each bootstrap replicate, θ* (R, C).

    Means and differences are taken of both, replicate by replicate, so that what is paired stays paired:

    - `b.minus(a)`: θ̂_b − θ̂_a and θ*_b − θ*_a, the paired difference of two models on the same replicates;
    - `macro()`: the mean over the classes;
    - `mean_of(runs)`: the mean over several runs, such as the seeds of one model.

    `estimate` makes them of labels and scores. Any other statistic will do, if its replicates are of the same draws.

    Attributes:
        classes: C names.
        values: The metric on all images, each once, (C,); NaN where it is not defined.
        sampled: The metric on each replicate, (R, C); NaN where it is not defined.
        replicates: The replicates themselves, if known: differences and means of other ones are then refused.

    Raises:
        AWBError: Shapes disagree.

    Examples:
        >>> import numpy as np
        >>> from awb.study import Estimates
        >>> a = Estimates(("Mass", "Edema"), np.array([0.70, 0.80]), np.array([[0.6, 0.8], [0.7, 0.8], [0.8, 0.8]]))
        >>> b = Estimates(("Mass", "Edema"), np.array([0.75, 0.85]), np.array([[0.7, 0.9], [0.7, 0.8], [0.9, 0.9]]))
        >>> difference = b.minus(a).macro()
        >>> difference.classes, difference.values.round(3).tolist(), difference.sampled.round(3).tolist()
        (('macro (2)',), [0.05], [[0.1], [0.0], [0.1]])
        >>> [str(interval) for interval in difference.intervals()]
        ['0.005–0.100']
    """

    classes: tuple[str, ...]
    values: Floats
    sampled: Floats
    replicates: Replicates | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))
        object.__setattr__(self, "values", np.asarray(self.values, dtype=np.float64))
        object.__setattr__(self, "sampled", np.asarray(self.sampled, dtype=np.float64))
        count = len(self.classes)
        if self.values.shape != (count,) or self.sampled.ndim != 2 or self.sampled.shape[1] != count:
            raise AWBError(
                f"values have shape {self.values.shape} and sampled {self.sampled.shape}; expected {(count,)} and "
                f"(replicates, {count}) for {count} classes"
            )

    def minus(self, other: Estimates) -> Estimates:
        """Paired difference from other estimates on the same replicates.

        Raises:
            AWBError: Other classes, or replicates of another number, other patients or another seed.
        """
        _require_alike((self, other))
        return Estimates(self.classes, self.values - other.values, self.sampled - other.sampled, self.replicates)

    @staticmethod
    def mean_of(runs: Iterable[Estimates]) -> Estimates:
        """Mean over several runs of their estimates on the same replicates, class by class.

        Raises:
            AWBError: No runs, or as `minus`.
        """
        listed = tuple(runs)
        _require_alike(listed)
        values, sampled = (np.mean([getattr(run, name) for run in listed], axis=0) for name in ("values", "sampled"))
        return Estimates(listed[0].classes, values, sampled, listed[0].replicates)

    @property
    def averaged(self) -> Bools:
        """Mask of the classes in the macro mean, (C,): those that are defined, without `No Finding` and the like."""
        defined = ~np.isnan(self.values)
        findings = defined & findings_among(self.classes)
        return findings if findings.any() else defined

    def macro(self, averaged: npt.ArrayLike | None = None) -> Estimates:
        """Macro mean, as the estimates of one class named `macro (2)` or `macro (2 of 3)`.

        A replicate in which one of the averaged classes is not defined has none (NaN): it would be a mean of others.

        Args:
            averaged: Mask of the classes to average, (C,); by default `self.averaged`, as in `evaluate`.
        """
        use = self.averaged if averaged is None else np.asarray(averaged, dtype=np.bool_)
        number = int(use.sum())
        name = f"macro ({number})" if use.all() else f"macro ({number} of {len(use)})"
        sampled = self.sampled if use.all() else self.sampled[:, use]
        mean = sampled.mean(axis=1) if number else np.full(len(sampled), np.nan)
        return Estimates((name,), np.array([macro(self.values[use])]), mean[:, None], self.replicates)

    def with_macro(self, averaged: npt.ArrayLike | None = None) -> Estimates:
        """The same classes, and last their macro mean: C + 1 in all."""
        last = self.macro(averaged)
        values, sampled = np.append(self.values, last.values), np.column_stack([self.sampled, last.sampled])
        return Estimates((*self.classes, *last.classes), values, sampled, self.replicates)

    @property
    def alike(self) -> Bools:
        """Mask of the values, (C,), that are the same on all replicates: their interval of no width shows nothing."""
        highest = np.nanmax(self.sampled, axis=0, initial=-np.inf)
        lowest = np.nanmin(self.sampled, axis=0, initial=np.inf)
        return np.asarray(highest - lowest == 0)

    def intervals(self, *, level: float = 0.95, max_left_out: float = 0.05) -> list[Interval | None]:
        """Percentile interval of each class (`percentile_interval`).

        For a macro mean of AUPRCs use `bias_corrected_interval`, as `evaluate` does.

        Args:
            level: Share of the replicates inside.
            max_left_out: Largest share of replicates that may be undefined.

        Returns:
            C of them; None where too many replicates are undefined, or the interval would not contain the value.

        Raises:
            AWBError: No replicates, or a level or share outside 0–1.
        """
        found = (percentile_interval(column, level=level, max_left_out=max_left_out) for column in self.sampled.T)
        return [holding(interval, value) for interval, value in zip(found, self.values.tolist(), strict=True)]

    def p_values(self, *, level: float = 0.95, max_left_out: float = 0.05) -> Floats:
        """Two-sided p of no difference for each class (`bootstrap_p`), (C,); NaN where `intervals` gives none.

        It means something for differences only. Correct it for their number with `holm`.
        """
        intervals = self.intervals(level=level, max_left_out=max_left_out)
        p = (bootstrap_p(column) for column in self.sampled.T)
        return np.array([np.nan if interval is None else one for one, interval in zip(p, intervals, strict=True)])


def estimate(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    replicates: Replicates,
    *,
    metric: Metric = "auroc",
    classes: Sequence[str] | None = None,
    undefined: Undefined = "raise",
) -> Estimates:
    """A metric of each class, on all images and on each replicate of the patients.

    Args:
        y_true: Labels (n, C).
        scores: Scores (n, C).
        replicates: `draw_replicates(groups)`, of the same n images.
        metric: `auroc`, `auprc`, or a function as `bootstrap` takes it.
        classes: C names.
        undefined: `raise` or `skip` (NaN), for a class that has one label only.

    Raises:
        AWBError: Bad arrays, replicates of other images, no such metric, or an undefined class.

    Examples:
        >>> import numpy as np
        >>> from awb.study import draw_replicates, estimate
        >>> y_true, scores = np.array([0, 1, 0, 1, 1, 0]), np.array([0.1, 0.8, 0.6, 0.5, 0.9, 0.2])
        >>> of_patients = estimate(y_true, scores, draw_replicates(range(6), n_replicates=100), classes=["Mass"])
        >>> of_patients.values.round(3).tolist(), of_patients.sampled.shape
        ([0.889], (100, 1))
    """
    cases = check_cases(y_true, scores, classes)
    require_both_labels(cases, undefined, what=metric_title(metric))
    return estimate_cases(cases, replicates, metric)


def estimate_cases(cases: Cases, replicates: Replicates, metric: Metric) -> Estimates:
    """`estimate` for checked labels and scores; NaN for a class with only one label."""
    sampled = bootstrap(cases.y_true, cases.values, replicates, metric=metric)  # first: it knows the metrics' names
    values = each_class(_unweighted(metric), cases, "skip", what=metric_title(metric))
    return Estimates(cases.classes, values, sampled, replicates)


def metric_title(metric: Metric) -> str:
    """Name of a metric in a sentence."""
    return metric.upper() if isinstance(metric, str) else getattr(metric, "__name__", "the metric")


def _unweighted(metric: Metric) -> Callable[..., float]:
    """Metric on all images, each counted once."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not isinstance(metric, str):
        return lambda y, s: metric(y, s, sample_weight=np.ones(len(y)))
    known: dict[str, Callable[..., float]] = {"auroc": roc_auc_score, "auprc": average_precision_score}
    return known[metric]


def _require_alike(estimates: Sequence[Estimates]) -> None:
    if not estimates:
        raise AWBError("no estimates; expected at least one")
    first = estimates[0]
    for other in estimates[1:]:
        if other.classes != first.classes:
            raise AWBError(
                f"estimates of {', '.join(other.classes)} beside {', '.join(first.classes)}; expected the same classes"
            )
        if len(other.sampled) != len(first.sampled):
            raise AWBError(
                f"{len(other.sampled):,} replicates beside {len(first.sampled):,}; expected the same draws for both"
            )
        if first.replicates and other.replicates and not first.replicates.same_draws(other.replicates):
            raise AWBError(
                "replicates of other images, other patients or another seed, which are not paired; give the same "
                "draw_replicates(groups) to both"
            )
