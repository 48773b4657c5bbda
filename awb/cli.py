"""The command line: `awb stages`, `awb profile`, `awb attention` and `awb study`."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, cast, get_args

from torch import nn

import awb
from awb.attention.info import GateName, Identity
from awb.attention.registry import find_factory, list_attention
from awb.attention.table import facts_table, kinds_table
from awb.errors import AWBError, did_you_mean
from awb.profile import profile_placements
from awb.requested_kinds import DEFAULT, Stages
from awb.stages import find_stages
from awb.stages.example_inputs import Size, default_size
from awb.study.cli import add_commands
from awb.table import Table
from awb.terminal import print_anything, run_to_the_end

_LIBRARIES = ("timm", "torchvision")  # a bare name that both have means the first
# how errors name an argument in Python, and what it is here
_FLAGS = {
    "allow_dead=True": "--allow-dead",
    "gates=": "--gates ",
    "identity=": "--identity ",
    "input_size=(height, width) or example_input=…": "--input-size H W",
}
_MODEL_HELP = "timm:NAME, torchvision:NAME, or a bare NAME (timm's if both have it); built without pretrained weights"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of the command line.

    Args:
        argv: The arguments; by default those of the process.

    Returns:
        The exit status: 0; 2 if the request was refused, with the reason on stderr; or as in `run_to_the_end`.

    Raises:
        SystemExit: The command is unknown (2), or help or the version was asked for (0).
    """
    print_anything()
    return run_to_the_end(partial(_run, argv))


def _run(argv: Sequence[str] | None) -> int:
    parser, commands = _parser()
    words = sys.argv[1:] if argv is None else list(argv)
    _check_words(parser, commands, words)
    args = parser.parse_args(words)
    try:
        table = args.command(args)
    except AWBError as error:
        print(f"awb: error: {_with_flags(str(error))}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(list(table), indent=2, ensure_ascii=False))
        for note in table.notes:  # the rows have no place for them
            print(f"awb: {note}", file=sys.stderr)
    else:
        print(_readable(table))
    return 0


Commands = dict[str, argparse.ArgumentParser]


def _parser() -> tuple[argparse.ArgumentParser, dict[str, Commands]]:
    """Parser, and the commands by the words that select them."""
    parser = argparse.ArgumentParser(
        prog="awb", description="Attention after chosen stages of any torchvision or timm backbone, and honest studies."
    )
    parser.add_argument("--version", action="version", version=f"awb {awb.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, summary: str, among: Any = commands) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = among.add_parser(name, help=summary, description=summary)
        added.add_argument("--json", action="store_true", help="print a list of objects instead of a table")
        added.set_defaults(command=run)
        return added

    def model_command(name: str, run: Any, summary: str) -> argparse.ArgumentParser:
        added = command(name, run, summary)
        added.add_argument("model", metavar="MODEL", help=_MODEL_HELP)
        added.add_argument(
            "--input-size", type=int, nargs="+", metavar=("H", "W"),
            help="side, or height and width, in pixels; by default what the model was built for",
        )  # fmt: skip
        return added

    model_command("stages", _stages, "List the stages of a backbone.")
    profile = model_command("profile", _profile, "Count what blocks cost under several placements.")
    profile.add_argument(
        "--placements", nargs="+", required=True, metavar="STAGES",
        help="what attach_awb takes as stages: last, last:2, all, after, branches, branches:3-4, a number, a path, a "
        "glob, or several of these joined by commas (3,4); with the kind at each, 3=cbam,4=lka, or several in order, "
        "4=cbam+lka",
    )  # fmt: skip
    profile.add_argument(
        "--attention", default=DEFAULT, metavar="KIND",
        help=f"a name from `awb attention` ({DEFAULT}), for placements that name none",
    )  # fmt: skip
    profile.add_argument("--num-classes", type=int, metavar="N", help="outputs of the classifier")
    profile.add_argument(
        "--allow-dead", action="store_true", help="accept stages that the head never reads, for dense features"
    )
    attention = command("attention", _attention, "List the attention kinds, or print what is known of one.")
    attention.add_argument("name", nargs="?", default="*", metavar="NAME", help="a kind, or names as in a shell: 'ls*'")
    attention.add_argument(
        "--gates", metavar="GATE", help=f"only kinds with this gate: {', '.join(get_args(GateName))}"
    )
    attention.add_argument(
        "--identity", metavar="HOW", help=f"only kinds that start so: {', '.join(get_args(Identity))}"
    )
    attention.add_argument("--max-params", type=int, metavar="N", help="only kinds with at most this many parameters")
    attention.add_argument("--channels", type=int, default=256, metavar="C", help="channels to count at (256)")
    summary = "Check data and evaluate predictions, of any model."
    study = commands.add_parser("study", help=summary, description=summary)
    of_study = study.add_subparsers(required=True, metavar="COMMAND")
    add_commands(partial(command, among=of_study))
    return parser, {"": commands.choices, "study": of_study.choices}


def _check_words(parser: argparse.ArgumentParser, commands: dict[str, Commands], words: Sequence[str]) -> None:
    """Show the help if no command is given, and suggest the nearest for an unknown one.

    Raises:
        SystemExit: The command is missing or unknown.
    """
    group = commands[""]
    for word in words:
        if word.startswith("-"):
            return
        if word not in group:
            parser.error(f"no command {word!r}{did_you_mean(word, group)}: there are {', '.join(group)}")
        parser = group[word]
        if word not in commands:
            return
        group = commands[word]
    parser.print_help(sys.stderr)
    raise SystemExit(2)


def _stages(args: argparse.Namespace) -> Table:
    headers = ("stage", "name", "site", "channels", "reduction", "layout", "grid", "prefix tokens", "live")
    rows = tuple(
        (stage.index, stage.name, str(site), site.channels, stage.reduction, site.layout, site.grid,
         site.num_prefix_tokens, stage.live)
        for stage in find_stages(_build(args.model), None if args.input_size is None else _size(args.input_size))
        for site in stage.sites
    )  # fmt: skip
    return Table(headers, rows)


def _profile(args: argparse.Namespace) -> Table:
    find_factory(args.attention)  # before the model, which may take long to build
    if args.num_classes is not None and args.num_classes < 1:
        raise AWBError(f"--num-classes {args.num_classes}: expected a positive int")
    model = _build(args.model, args.num_classes)
    return profile_placements(
        model,
        {"plain": None, **{text: _placement(text) for text in args.placements}},
        default_size(model) if args.input_size is None else _size(args.input_size),
        attention=args.attention,
        allow_dead=args.allow_dead,
    )


def _attention(args: argparse.Namespace) -> Table:
    if args.channels < 1:
        raise AWBError(f"--channels {args.channels}: expected a positive int")
    filters = {"gates": args.gates, "identity": args.identity, "max_params": args.max_params}
    if not any(character in args.name for character in "*?[") and not any(filters.values()):
        return facts_table(args.name, args.channels)
    return kinds_table(list_attention(args.name, **filters, channels=args.channels), args.channels)


def _size(given: list[int]) -> Size:
    # a wrong count is refused, with the reason, where the size is used
    return given[0] if len(given) == 1 else cast("tuple[int, int]", tuple(given))


def _placement(text: str) -> Stages:
    """`stages` argument for one placement: an int, a path, a list if there are commas, a mapping if there are =."""
    parts = [part.strip() for part in text.split(",")]
    if "" in parts:
        raise AWBError(f"--placements {text!r}: an item between its commas is empty")
    if not any("=" in part for part in parts):
        selectors = [_selector(part) for part in parts]
        return selectors[0] if len(selectors) == 1 else selectors
    kinds: dict[int | str, list[str]] = {}
    for part in parts:
        selector, _, names = (piece.strip() for piece in part.partition("="))
        if not selector or not names:
            raise AWBError(f"--placements {text!r}: {part!r} is not STAGE=KIND, as the other items are")
        if _selector(selector) in kinds:
            raise AWBError(f"--placements {text!r}: {selector} is named twice; several kinds are {selector}=cbam+lka")
        kinds[_selector(selector)] = [name.strip() for name in names.split("+")]
    return kinds


def _selector(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _build(spec: str, num_classes: int | None = None) -> nn.Module:
    """Build the model with this name, with random weights.

    Raises:
        AWBError: No library has it.
    """
    prefix, colon, name = spec.rpartition(":")
    if colon and prefix not in _LIBRARIES:
        raise AWBError(f"no library {prefix!r} in {spec!r}: there are {', '.join(_LIBRARIES)}")
    owners = [library for library in ([prefix] if colon else _LIBRARIES) if _has(library, name)]
    if not owners and prefix != "timm" and _is_for_another_task(name):
        raise AWBError(f"torchvision's {name} does not classify images: attach to its parts in Python, by module path")
    if not owners:
        raise AWBError(f"no model {spec!r}{_near_models(name)}")
    if len(owners) > 1:
        print(f"awb: {name} is in {' and '.join(owners)}; took {owners[0]}:{name}", file=sys.stderr)
    options = {} if num_classes is None else {"num_classes": num_classes}
    if owners[0] == "timm":
        import timm

        model = timm.create_model(name, pretrained=False, **options)
    else:
        import torchvision

        model = torchvision.models.get_model(name, weights=None, **options)
    assert isinstance(model, nn.Module)
    return model


def _has(library: str, name: str) -> bool:
    if library == "torchvision":
        return name in _names(library)
    import timm

    # deprecated names are not in its list; a tag that is not there is found only when the model is built
    return name in timm.list_models(include_tags=True) if "." in name else bool(timm.is_model(name))


def _names(library: str) -> list[str]:
    if library == "timm":
        import timm

        return list(timm.list_models())
    import torchvision

    # those of the module itself classify images; the others (detection, video, …) may fetch a backbone's weights
    return list(torchvision.models.list_models(module=torchvision.models))


def _is_for_another_task(name: str) -> bool:
    """True if torchvision has the model for detection, segmentation, video or optical flow."""
    import torchvision

    return name in torchvision.models.list_models()


def _near_models(name: str) -> str:
    near = [
        f"{library}:{match}"
        for library in _LIBRARIES
        for match in difflib.get_close_matches(name.lower(), _names(library), n=3)
    ]
    return f"; did you mean {', '.join(near)}?" if near else ": neither timm nor torchvision has a name like it"


def _with_flags(message: str) -> str:
    for argument, flag in _FLAGS.items():
        message = message.replace(argument, flag)
    return message


def _readable(table: Table) -> str:
    """Table as text, with grids written as `14×14`."""
    rows = tuple(tuple("×".join(map(str, v)) if type(v) is tuple else v for v in row) for row in table.rows)
    return str(Table(table.headers, rows, table.notes))
