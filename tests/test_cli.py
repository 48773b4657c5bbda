"""The command line: what it prints is what the library returns, and what it refuses it refuses readably."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torchvision

import awb
from awb.cli import main
from tests.test_docs import same_output

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"


def rows(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, Any]]:
    """What a command prints as JSON, which is all that it prints on stdout."""
    assert main([*argv, "--json"]) == 0
    parsed: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return parsed


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line on stderr, without a traceback, of a command that is refused."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("awb: error: ")
    assert err.count("\n") == 1
    return err


def test_stages_are_those_of_find_stages(capsys: pytest.CaptureFixture[str]) -> None:
    stages = awb.find_stages(timm.create_model("test_vit"))
    printed = rows(capsys, "stages", "timm:test_vit")
    assert [(row["stage"], row["name"], row["reduction"], row["live"]) for row in printed] == [
        (stage.index, stage.name, stage.reduction, stage.live) for stage in stages
    ]
    assert [
        (row["site"], row["channels"], row["layout"], tuple(row["grid"]), row["prefix tokens"]) for row in printed
    ] == [
        (str(site), site.channels, site.layout, site.grid, site.num_prefix_tokens)
        for stage in stages
        for site in stage.sites
    ]
    assert [row["live"] for row in printed] == [True] * 5 + [False]


@pytest.mark.slow
def test_a_stage_with_two_sites_has_two_rows(capsys: pytest.CaptureFixture[str]) -> None:
    printed = rows(capsys, "stages", "crossvit_tiny_240")
    assert [(row["stage"], row["site"]) for row in printed][:2] == [(1, "blocks.0[0]"), (1, "blocks.0[1]")]


@pytest.mark.parametrize(("given", "grid"), [(["64"], [2, 2]), (["64", "96"], [2, 3])])
def test_input_size_is_a_side_or_height_and_width(
    capsys: pytest.CaptureFixture[str], given: list[str], grid: list[int]
) -> None:
    assert rows(capsys, "stages", "torchvision:resnet18", "--input-size", *given)[-1]["grid"] == grid


@pytest.mark.slow
def test_profile_is_profile_placements_with_the_plain_backbone_first(capsys: pytest.CaptureFixture[str]) -> None:
    placements = {
        "plain": None,
        "after": "after",
        "last:2": "last:2",
        "3,4": [3, 4],
        "-1": -1,
        "after, 1": ["after", 1],
        "3=cbam,4=lka": {3: "cbam", 4: "lka"},
        "layer[12] = se, -1 = lka + se": {"layer[12]": "se", -1: ["lka", "se"]},
    }
    expected = awb.profile_placements(torchvision.models.resnet18(num_classes=5), placements, (64, 96), attention="eca")
    printed = rows(
        capsys, "profile", "torchvision:resnet18", "--placements", *list(placements)[1:],
        "--attention", "eca", "--input-size", "64", "96", "--num-classes", "5",
    )  # fmt: skip
    assert printed == list(expected)


@pytest.mark.slow
def test_profile_is_at_the_size_that_the_model_was_built_for(capsys: pytest.CaptureFixture[str]) -> None:
    own, smaller = (
        rows(capsys, "profile", "test_resnet", "--placements", "last", *size)
        for size in ([], ["--input-size", "80"])
    )  # fmt: skip
    (expected,) = awb.profile_placements(lambda: timm.create_model("test_resnet"), ["last"], 160)
    assert own[1] == expected
    assert smaller[1]["MACs"] < own[1]["MACs"]


@pytest.mark.slow
def test_uncounted_operators_are_named_with_either_output(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["profile", "test_resnet", "--placements", "last"]
    main(command)
    assert "not counted in MACs: " in capsys.readouterr().out
    main([*command, "--json"])
    assert "not counted in MACs: " in capsys.readouterr().err


def test_attentions_offer_what_their_modules_do(capsys: pytest.CaptureFixture[str]) -> None:
    printed = rows(capsys, "attention")
    assert [row["attention"] for row in printed] == awb.list_attention()
    for row in printed:
        info = awb.attention_info(row["attention"])
        module = awb.create_attention(info.name, 96)
        assert row["map"] == any(hasattr(module, offer) for offer in ("attention_map", "query_map")), info.name
        assert row["identity"] != "setting" or hasattr(module, "reset_identity"), info.name


@pytest.mark.parametrize(
    ("name", "first_site", "taken"),
    [
        ("squeezenet1_1", "features.4", None),  # torchvision's alone
        ("test_resnet", "layer1.0", None),  # timm's alone
        ("resnet18", "layer1.1", "timm:resnet18"),
    ],
)
def test_a_bare_name_is_timms_if_both_have_it(
    capsys: pytest.CaptureFixture[str], name: str, first_site: str, taken: str | None
) -> None:
    assert main(["stages", name, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["site"] == first_site
    assert err == ("" if taken is None else f"awb: {name} is in timm and torchvision; took {taken}\n")


@pytest.mark.slow
def test_the_library_that_is_named_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    sites = {
        library: rows(capsys, "stages", f"{library}:convnext_tiny")[0]["site"] for library in ("timm", "torchvision")
    }
    assert sites["timm"].startswith("stages.0")
    assert sites["torchvision"].startswith("features.1")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("densenet212", ["timm:densenet121", "torchvision:densenet121"]),
        ("ResNet50", ["timm:resnet50", "torchvision:resnet50"]),
        ("torchvision:test_resnet", ["timm:test_resnet"]),
        ("timm:vit_b_16", ["torchvision:vit_b_16"]),
        ("resnet50.no_such_tag", ["timm:resnet50"]),
        ("jax:resnet50", ["timm", "torchvision"]),
        ("torchvision:fasterrcnn_resnet50_fpn", ["does not classify images"]),  # would download its backbone's weights
        ("deeplabv3_resnet50", ["does not classify images"]),
        ("hf-hub:timm/resnet50", ["no library 'hf-hub'"]),
        ("qqqqqqqq", ["no model 'qqqqqqqq': neither"]),
        ("", ["no model ''"]),
    ],
)
def test_unknown_names_are_refused_with_near_matches(
    capsys: pytest.CaptureFixture[str], name: str, near: list[str]
) -> None:
    message = refusal(capsys, "stages", name)
    assert all(match in message for match in near), message


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--placements", "9"], "no stage 9"),
        (["--placements", "layer5"], "did you mean 'layer4'"),
        (["--placements", "3,"], "an item between its commas is empty"),
        (["--placements", "3,4=lka"], "'3' is not STAGE=KIND, as the other items are"),
        (["--placements", "3="], "'3=' is not STAGE=KIND"),
        (["--placements", "3=se,3=lka"], "3 is named twice; several kinds are 3=cbam+lka"),
        (["--placements", "3=lkb"], "did you mean 'lka'"),
        (["--placements", "4=se+"], "no attention ''"),
        (["--placements", "4=se", "--attention", "van"], "attention='van' has none to go to"),
        (["--placements", "last", "--attention", "lkb"], "did you mean 'lka'"),
        (["--placements", "last", "--input-size", "0"], "input_size=0"),
        (["--placements", "last", "--input-size", "1", "2", "3"], "input_size=(1, 2, 3)"),
        (["--placements", "last", "--num-classes", "0"], "--num-classes 0"),
    ],
)
def test_what_the_library_refuses_has_its_reason(
    capsys: pytest.CaptureFixture[str], argv: list[str], reason: str
) -> None:
    assert reason in refusal(capsys, "profile", "test_resnet", *argv)


@pytest.mark.slow
def test_refusals_name_flags_where_there_are_some(capsys: pytest.CaptureFixture[str]) -> None:
    assert "pass --input-size H W that the model accepts" in refusal(
        capsys, "stages", "test_vit", "--input-size", "100"
    )
    assert "pass --allow-dead if" in refusal(capsys, "profile", "test_vit", "--placements", "6")
    assert main(["profile", "test_vit", "--placements", "6", "--allow-dead"]) == 0


@pytest.mark.parametrize("argv", [[], ["stages"], ["profile", "test_resnet"], ["stage", "test_resnet"]])
def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    assert exit_.value.code == 2
    assert "usage: awb" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "Count what blocks cost"),  # the help
        (["study"], "Count the images and patients that sets share"),
        (["attentions"], "no command 'attentions'; did you mean 'attention'?"),
        (["predict"], "no command 'predict': there are stages, profile, attention, study"),
        (["study", "audits"], "no command 'audits'; did you mean 'audit'?: there are audit, evaluate"),
        (["stages"], "required: MODEL"),
    ],
)
def test_words_that_are_no_command(capsys: pytest.CaptureFixture[str], argv: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"awb {awb.__version__}\n"


@pytest.mark.slow
def test_python_m_awb_is_the_command_line_and_light() -> None:
    code = "import sys, awb.cli; print([m for m in ('torchvision', 'timm', 'fvcore') if m in sys.modules])"
    light, listing = (
        subprocess.run([sys.executable, *args], capture_output=True, text=True, check=True).stdout
        for args in (["-c", code], ["-m", "awb", "attention"])
    )
    assert light.strip() == "[]"
    assert [line.split()[0] for line in listing.splitlines()[2:-1]] == awb.list_attention()


@pytest.mark.slow
def test_the_page_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.findall(r"^```console\n\$ awb (.+)\n((?:.*\n)*?)```$", PAGE.read_text(), re.MULTILINE)
    assert len(shown) > 3
    for command, output in shown:
        main(shlex.split(command))
        out, err = capsys.readouterr()
        assert same_output(output, err + out), f"$ awb {command} prints:\n{err}{out}"
