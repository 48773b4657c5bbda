"""A sentence of the report claims no more than its interval does, and no setting in which cells differ is hidden."""

from __future__ import annotations

import numpy as np
import pytest

from awb.study import Interval
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun
from examples.chestxray14.evaluation.learning_curves import StageLog, learning_curves, read_logs
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.words import attention_in_words, blocks_in_words, placement_in_words
from examples.chestxray14.reproduction.answers import answers
from examples.chestxray14.reproduction.contrasts import QUESTIONS, Contrast, Pair, contrasts
from examples.chestxray14.reproduction.costs import cost_table
from examples.chestxray14.reproduction.differences import lonely_table, recipes_table
from examples.chestxray14.reproduction.published import TABLE_4
from examples.chestxray14.reproduction.results import measure_all
from tests.chestxray14.evaluation.runs import changed, with_split

BLOCKS = "Do blocks help? Each placement against none"


def pair(b: str, difference: float, interval: Interval | None, p: float | None, corrected: float | None) -> Pair:
    return Pair("plain", b, "nested", 0.8, 0.8 + difference, difference, interval, p, corrected)


@pytest.fixture
def plain(run: EvaluatedRun) -> EvaluatedRun:
    model = run.recipe.model.model_copy(update={"placement": "plain", "attention": None, "init": None})
    return changed(run, recipe=run.recipe.model_copy(update={"model": model}))


@pytest.fixture
def runs(run: EvaluatedRun, plain: EvaluatedRun) -> dict[str, EvaluatedRun]:
    return {"plain": plain, "last": run, "other": run}


def sentence(runs: dict[str, EvaluatedRun], *pairs: Pair, refused: tuple[str, ...] = ()) -> str:
    (text,) = answers({BLOCKS: Contrast("macro AUROC", pairs, refused)}, runs)
    return text


@pytest.mark.parametrize(
    ("interval", "corrected", "verdict"),
    [
        (Interval(-0.022, 0.017), 0.8, "(95 % −0.022 to +0.017, {n} patients): no difference shown."),
        (Interval(0.0, 0.017), 0.04, "(95 % +0.000 to +0.017, {n} patients): no difference shown."),
        (Interval(0.001, 0.017), 0.03, "(95 % +0.001 to +0.017, {n} patients): higher."),
        (Interval(0.001, 0.017), 0.06, "(95 % +0.001 to +0.017, {n} patients): no difference shown."),
        (None, None, "(no interval, {n} patients): no difference shown."),
    ],
)
def test_an_interval_with_0_shows_nothing(
    runs: dict[str, EvaluatedRun], interval: Interval | None, corrected: float | None, verdict: str
) -> None:
    found = sentence(runs, pair("last", 0.002, interval, corrected, corrected))
    blocks = "Blocks (timm_cbam after the last two stages) changed the macro AUROC by +0.002 "
    assert found == blocks + verdict.format(n=runs["last"].n_patients)


def test_of_several_pairs_the_range_and_the_clearest_are_said(runs: dict[str, EvaluatedRun]) -> None:
    n = runs["last"].n_patients
    weak, strong = (
        pair("last", -0.01, Interval(-0.1, 0.1), 0.7, 0.7),
        pair("other", 0.05, Interval(0.01, 0.1), 0.01, 0.02),
    )
    assert sentence(runs, weak, strong, refused=("x",)) == (
        "Blocks changed the macro AUROC by −0.010 to +0.050 in 2 pairs of cells: a difference shown in 1 of them. The "
        f"smallest p, 0.02 after Holm's correction, is that of other against plain: +0.050 (95 % +0.010 to +0.100, {n} "
        "patients). Pairs not compared: 1."
    )
    assert "no difference shown in any" in sentence(runs, weak, weak)
    undefined = pair("last", -0.01, None, None, None)
    assert sentence(runs, undefined, undefined).endswith("no difference shown, since none has an interval.")
    assert sentence(runs, refused=("x",)) == "Blocks: no two cells can be compared. Pairs not compared: 1."


def test_a_leak_is_in_the_sentence(run: EvaluatedRun, plain: EvaluatedRun) -> None:
    seen = tuple(run.test.images[:5].tolist())
    leaking = {
        name: with_split(one, stage2__train=(*one.split.sets["stage2/train"], *seen))
        for name, one in {"plain": plain, "last": run}.items()
    }
    found = list(answers(contrasts(leaking, measure_all(leaking, 50)), leaking))
    assert len(found) == 1
    assert found[0].endswith("LEAK: Both cells have trained on part of the test set or on its patients.")


def test_equal_predictions_have_no_interval_of_no_width(run: EvaluatedRun, plain: EvaluatedRun) -> None:
    equal = {"plain": plain, "last": run}
    (found,) = answers(contrasts(equal, measure_all(equal, 50)), equal)
    assert f"by +0.000 (no interval, {run.n_patients} patients): no difference shown." in found


def test_every_question_has_its_sentences(runs: dict[str, EvaluatedRun]) -> None:
    one = pair("last", 0.002, Interval(-0.1, 0.1), 1.0, 1.0)
    for question in QUESTIONS:
        (text,) = answers({question: Contrast("macro AUROC", (one,), ())}, runs)
        assert "{" not in text


def test_a_setting_of_one_cell_is_shown_and_the_cell_in_no_pair_says_why() -> None:
    plain = find_recipe("tiny", {"model.placement": "plain", "model.attention": None, "model.init": None})
    other = {"model.dropout": 0.3, "stages.0.optimizer.weight_decay": 0.5}
    recipes = {"plain": plain, "tiny": find_recipe("tiny"), "other": find_recipe("tiny", other)}
    table = recipes_table(recipes, dict.fromkeys(recipes, "nested"))
    said = {row["cell"]: row["other settings"] for row in table}
    assert said == {
        "plain": None, "tiny": None, "other": "model.dropout 0.3, stages.0.optimizer.weight_decay 0.5",
    }  # fmt: skip
    assert "blocks" in table.headers
    assert "network" not in table.headers
    assert "network tiny" in table.notes[0]
    assert "model.dropout 0.1, stages.0.optimizer.weight_decay 0.001" in table.notes[1]
    lonely = lonely_table(recipes, {"plain", "tiny"})
    assert lonely is not None
    assert [row["nearest cell"] for row in lonely] == ["tiny"]
    assert "model.dropout 0.3, not 0.1" in next(iter(lonely))["its settings, where they differ"]
    assert lonely_table(recipes, set(recipes)) is None


def with_model(**settings: object) -> Recipe:
    return find_recipe("tiny", {f"model.{key}": value for key, value in settings.items()})


def test_blocks_are_said_in_words() -> None:
    several = with_model(placement=None, attention={"2": "cbam", "3": ["se", {"rd_ratio": 0.1}]}).model
    assert attention_in_words(several) == "timm_cbam at 2, timm_se (rd_ratio 0.1) at 3"
    assert placement_in_words(several) == "by place"
    assert blocks_in_words(several) == "timm_cbam at 2, timm_se (rd_ratio 0.1) at 3, identity"
    assert blocks_in_words(with_model(placement=[2, 3]).model) == "lka, 2, 3, identity"
    plain = with_model(placement="plain", attention=None, init=None).model
    assert blocks_in_words(plain) == placement_in_words(plain) == "none"


def test_networks_that_differ_only_in_their_start_are_told_apart_and_table_4_is_of_its_networks_only() -> None:
    recipes = {"a": with_model(init="identity"), "b": with_model(init="default"), "c": with_model(dropout=0.3)}
    table = cost_table(recipes, 14, published=True)
    assert [(row["blocks"], row["cells"]) for row in table] == [
        ("lka, last:2, identity", "a, c"), ("lka, last:2, default", "b"),
    ]  # fmt: skip
    assert not [header for header in table.headers if "2025" in header]


@pytest.mark.rest
def test_table_4_is_the_reports() -> None:
    table = cost_table({"plain": find_recipe("densenet121-plain-bce")}, 14, published=True)
    theirs = [(cost.backbone, cost.params, f"{cost.gmacs:.2f}") for cost in TABLE_4]
    columns = (("params", "GMACs"), ("the 2025 report's", "the 2025 report's "))
    for params, gmacs in columns:
        assert [(row["network"], row[params], row[gmacs]) for row in list(table)[:6]] == theirs
    assert len(table) == 7
    own = cost_table({"plain": find_recipe("densenet121-plain-bce")}, 14, published=False)
    assert len(own) == 1


def test_learning_curves_are_those_of_the_log_and_mark_the_epoch_that_was_kept(run: EvaluatedRun) -> None:
    logs = read_logs(run.folder, run.recipe)
    figure = learning_curves(logs, "T")
    for place, stage in enumerate(logs):
        losses = figure.axes[place]
        drawn = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in losses.lines}
        assert drawn["training"] == [float(row["training loss"]) for row in stage.epochs]
        assert drawn["validation"] == [float(row["validation loss"]) for row in stage.epochs]
        rates = figure.axes[2 * len(logs) + place].lines[0]
        assert np.asarray(rates.get_ydata()).tolist() == [float(row["lr"]) for row in stage.steps]
        assert np.asarray(rates.get_xdata())[-1] == len(stage.epochs)


@pytest.mark.parametrize(("keeps_best", "kept"), [(True, 1), (False, 3)])
def test_the_kept_epoch_is_the_first_of_the_lowest_loss_or_the_last(keeps_best: bool, kept: int) -> None:
    rows = [{"validation loss": loss, "validation macro AUROC": "nan"} for loss in ("0.5", "0.3", "0.3", "0.4")]
    assert StageLog("all", "bce", rows, [], keeps_best).kept == kept
