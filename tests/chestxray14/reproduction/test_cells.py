"""Which cells there are, which pairs of them ask a question, and what they cost."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import awb
from examples.chestxray14.data.study import StudySource
from examples.chestxray14.recipes.find import find_recipe, shipped_names
from examples.chestxray14.reproduction.cells import estimate, find_cells, profile_networks
from examples.chestxray14.reproduction.contrasts import QUESTIONS, pairs
from examples.chestxray14.reproduction.factors import factors_of
from examples.chestxray14.reproduction.maps import group_cells
from examples.chestxray14.reproduction.published import TABLE_4, published_auroc
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.networks import build_model
from examples.chestxray14.training.trainer import Trainer
from tests.chestxray14.small_runs import tiny_recipe

_SCHEDULE = "Does the schedule help? Each against one stage of BCE"


def test_by_default_all_recipes_but_those_for_phantoms_are_cells() -> None:
    names = set(shipped_names())
    assert set(find_cells()) == {name for name in names if not name.startswith(("demo", "tiny"))}
    assert set(find_cells(["report-*", "tiny"])) == {n for n in names if n.startswith("report-")} | {"tiny"}


def test_a_pattern_that_names_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(awb.AWBError, match="no recipe 'report-our1'; did you mean 'report-ours1'"):
        find_cells(["report-our1"])


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    copy = tmp_path / "tiny.yaml"
    copy.write_text(find_recipe("tiny").to_yaml())
    with pytest.raises(awb.AWBError, match="two recipes are called tiny"):
        find_cells(["tiny", str(copy)])


def test_each_recipe_has_the_parameters_of_its_own_network() -> None:
    """A CBAM that starts as the identity has a scale per channel, which the default one has not."""
    kinds = {"lka": {"model.attention": "lka"}, "cbam": {"model.attention": "cbam"}}
    kinds["default"] = kinds["cbam"] | {"model.init": "default"}
    kinds["dropout"] = kinds["default"] | {"model.dropout": 0.3}
    recipes = {name: find_recipe("tiny", changes) for name, changes in kinds.items()}
    found = {name: profile["params"] for name, profile in profile_networks(recipes).items()}
    built = {n: build_model(r.model, 14, r.data.image_size, 0, pretrained=False) for n, r in recipes.items()}
    assert found == {name: sum(p.numel() for p in model.parameters()) for name, model in built.items()}
    assert found["dropout"] == found["default"] < found["cbam"]


@pytest.mark.parametrize(
    ("question", "expected"),
    # of each network: 4 schedules, 3 placements, 3 kinds, 2 starts
    [("Do blocks help? Each placement against none", 2 * 4 * 3 * 3 * 2),
     # of each network, with the blocks of 3 placements, 3 kinds and 2 starts, and with none: 3 schedules
     ("Does the schedule help? Each against one stage of BCE", 2 * (3 * 3 * 2 + 1) * 3),
     # the same, and the report's Ours(2) against Ours(1)
     ("Does focal loss help in the second stage?", 2 * (3 * 3 * 2 + 1) + 1),
     ("Which attention? Each against LKA", 2 * 4 * 3 * 2 * 2),
     ("Which start? Default against identity", 2 * 4 * 3 * 3)],
)  # fmt: skip
def test_the_study_answers_each_question_in_all_cells(question: str, expected: int) -> None:
    factors = {name: factors_of(recipe) for name, recipe in find_cells().items()}
    found = list(pairs(factors, question))
    assert len(found) == len(set(found)) == expected
    asked = QUESTIONS[question]
    for a, b in found:
        differ = {key for key, value in dataclasses.asdict(factors[a]).items() if value != getattr(factors[b], key)}
        assert differ
        assert differ <= set(asked.varies)
        assert all(getattr(factors[a], name) == value for name, value in asked.a.items())


@pytest.mark.parametrize(
    "other",
    [
        {"stages__1__loss__gamma": 3.0}, {"stages__1__loss__alpha": 0.25}, {"stages__1__loss__variant": "literal"},
        {"stages__0__loss__alpha": 0.25}, {"stages__*__epochs": 3}, {"stages__0__name": "first"},
        {"model__dropout": 0.3}, {"model__init": "default"}, {"data__split__seed": 1}, {"training__seed": 1},
        {"training__ema": 0.9}, {"data__batch_size": 16},
    ],
)  # fmt: skip
def test_cells_that_differ_in_one_more_thing_are_no_pair_and_not_shown_together(other: dict[str, Any]) -> None:
    plain = {"model__placement": "plain", "model__attention": None, "model__init": None}
    a, b, c = (tiny_recipe(**settings) for settings in (plain, {}, other))
    factors = {"a": factors_of(a), "b": factors_of(b), "c": factors_of(c)}
    question = "Do blocks help? Each placement against none"
    is_start = "model__init" in other
    assert list(pairs(factors, question)) == [("a", "b"), ("a", "c")][: 2 if is_start else 1]
    runs = {name: SimpleNamespace(recipe=recipe) for name, recipe in {"a": a, "b": b, "c": c}.items()}
    shown = list(group_cells(runs).values())  # type: ignore[arg-type]
    assert shown == [["a", "b"], ["a", "c"]][: 2 if is_start else 1]


def test_focal_loss_in_the_second_stage_is_asked_of_no_other_change() -> None:
    focal = {"kind": "focal", "gamma": 2.0, "alpha": None, "variant": "two_sided"}
    bce = {"kind": "bce", "alpha": None}
    losses = {
        "bce_bce": (bce, bce), "bce_focal": (bce, focal), "focal_bce": (focal, bce), "focal_focal": (focal, focal),
        "weighted": (bce, bce | {"alpha": 0.25}), "bce_focal3": (bce, focal | {"gamma": 3.0}),
    }  # fmt: skip
    factors = {name: factors_of(tiny_recipe(stages__0__loss=a, stages__1__loss=b)) for name, (a, b) in losses.items()}
    found = list(pairs(factors, "Does focal loss help in the second stage?"))
    assert found == [("bce_bce", "bce_focal"), ("bce_bce", "bce_focal3")]
    assert factors["bce_focal3"].losses == "bce → focal (gamma 3.0)"


def test_two_cells_of_one_stage_of_bce_are_no_schedule_against_another() -> None:
    bce = {"kind": "bce", "alpha": None}
    (last,) = tiny_recipe(stages__1__loss=bce).stages[1:]
    one = tiny_recipe().model_copy(update={"stages": (last,)})
    longer = one.model_copy(update={"stages": (last.model_copy(update={"epochs": 7}),)})
    abnormal = one.model_copy(update={"stages": (last.model_copy(update={"samples": "abnormal"}),)})
    cells = {"one": one, "longer": longer, "abnormal": abnormal, "two": tiny_recipe()}
    found = list(pairs({name: factors_of(recipe) for name, recipe in cells.items()}, _SCHEDULE))
    # `abnormal` is trained on other images: it is a schedule, and no reference
    assert found == [(a, b) for a in ("one", "longer") for b in ("abnormal", "two")]


def test_one_run_under_two_names_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "copy.yaml"
    copy.write_text(find_recipe("tiny").to_yaml().replace("name: tiny", "name: copy"))
    with pytest.raises(awb.AWBError, match="tiny and copy are the same run under two names"):
        find_cells(["tiny", str(copy)])


@pytest.mark.parametrize("name", ["a|b", "a<b>", "a b", ".hidden"])
def test_a_file_whose_name_is_none_for_a_cell_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.yaml"
    path.write_text(find_recipe("tiny").to_yaml())
    with pytest.raises(awb.AWBError, match="a cell is called as its file is"):
        find_cells([str(path)])


def test_another_image_size_is_another_thing() -> None:
    cells = {"a": tiny_recipe(model__placement="plain", model__attention=None, model__init=None), "b": tiny_recipe()}
    question = "Do blocks help? Each placement against none"
    assert list(pairs({name: factors_of(recipe) for name, recipe in cells.items()}, question)) == [("a", "b")]
    cells["b"] = tiny_recipe(data__image_size=64)
    assert not list(pairs({name: factors_of(recipe) for name, recipe in cells.items()}, question))


def test_the_report_s_headlines_stand_beside_its_own_training_on_its_split_and_on_an_honest_one() -> None:
    published = {name: published_auroc(recipe) for name, recipe in find_cells().items()}
    assert {name: value for name, value in published.items() if value} == {
        "report-ours1": 0.8768, "vgg16_bn-last-lka-default-bce_bce": 0.8768,
        "report-ours2": 0.8818, "vgg16_bn-last-lka-default-bce_focal": 0.8818,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [
        ("training.seed", 1, True), ("training.precision", "bf16", True), ("stages.0.epochs", 20, False),
        ("model.pretrained", False, False), ("data.image_size", 256, False), ("stages.1.loss.gamma", 1.0, False),
        ("model.init", "identity", False), ("model.final_relu", True, True),
    ],
)  # fmt: skip
def test_another_training_has_not_the_report_s_figure(key: str, value: Any, same: bool) -> None:
    (recipe,) = find_cells(["report-ours2"], {key: value}).values()
    assert published_auroc(recipe) == (0.8818 if same else None)


def test_the_report_s_recipes_have_the_parameters_of_its_table_4() -> None:
    names = {("vgg16_bn", "last:3"): "report-ours2"}
    for cost in TABLE_4:
        word = cost.stages.partition(":")[0]
        name = names.get((cost.backbone, cost.stages), f"report-{cost.backbone}-{word}")
        model = build_model(find_cells([name])[name].model, 14, 224, 0, pretrained=False)
        assert sum(p.numel() for p in model.parameters()) == cost.params, name


def test_an_estimate_counts_every_pass(source: StudySource, tmp_path: Path) -> None:
    recipe = tiny_recipe()
    study = source.study(recipe)
    table = estimate({"one": recipe, "two": recipe}, [study, study], tflops=1.0)
    one, two, both = table
    # two epochs of each stage: forward and twice as much backward, and validation forward; then the evaluation
    n = {name: len(rows) for name, rows in study.sets.items()}
    whole = {name: n[name] // 8 * 8 for name in ("stage1/train", "stage2/train")}  # batches of 8
    passes = 2 * (3 * sum(whole.values()) + n["stage1/validation"] + n["stage2/validation"])
    passes += n["stage2/validation"] + n["test"]
    (profile,) = awb.profile_placements(
        lambda: build_model(recipe.model, 14, 32, 0).eval(), {"": None}, 32
    )  # fmt: skip
    assert one["10¹⁵ operations"] == pytest.approx(2 * profile["MACs"] * passes / 1e15)
    assert one["hours"] == pytest.approx(2 * profile["MACs"] * passes / 1e12 / 3600)
    assert both["hours"] == pytest.approx(one["hours"] + two["hours"])
    Trainer(recipe, study, RunFolder(tmp_path)).run()
    assert one["steps"] == (tmp_path / "steps.csv").read_text().count("\n") - 1


def test_cells_seen_side_by_side_have_one_schedule_and_kind_and_none_comes_first() -> None:
    # group_cells looks at recipes only
    runs = {name: SimpleNamespace(recipe=recipe) for name, recipe in find_cells().items()}
    groups = group_cells(runs)  # type: ignore[arg-type]
    assert groups["lka, identity, bce → focal"] == [
        "densenet121-plain-bce_focal", "vgg16_bn-plain-bce_focal",
        *(f"{net}-{place}-lka-bce_focal" for net in ("densenet121", "vgg16_bn") for place in ("after", "all", "last")),
    ]  # fmt: skip
