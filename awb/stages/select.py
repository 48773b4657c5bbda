"""From selectors to stages: every selector must match."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from numbers import Integral

from torch import nn

from awb.errors import AWBError, did_you_mean, shortlist
from awb.stages.advice import candidate_paths
from awb.stages.describe import check_site
from awb.stages.families import Entry
from awb.stages.find import family_stages, find_after, make_stage, mark_dead, number_stages
from awb.stages.order import check_token_order
from awb.stages.trace import Trace
from awb.stages.types import Stage

Selector = int | str | Stage
_LAST = re.compile(r"last:(\d+)")
_INT = re.compile(r"\s*-?\d+\s*")
_RANGE = re.compile(r"\d+\s*-\s*\d+")
_GLOB = re.compile(r"(\*\*|\*|\?|\[[!^]?[^]!^]+\])")
_EXPECTED = "an int, a str, a Stage or a list of these"


def select_stages(
    model: nn.Module, traced: Trace, groups: Sequence[Selector | Iterable[Selector]], allow_dead: bool = False
) -> list[list[Stage]]:
    """The stages that each group of selectors names, each once, numbered ones first.

    Args:
        model: The model.
        traced: Its trace.
        groups: Selectors: 1-based or negative ints, `"all"`, `"last"`, `"last:k"`, `"after"`, module paths, globs
            (`*` and `?` within one path segment, `[34]` for one of these characters, `**` across), `Stage`
            objects, or a list of these.
        allow_dead: Accept stages that the head never reads.

    Raises:
        AWBError: A selector matches nothing, or names a dead stage.
    """
    asked = [_as_list(selectors) for selectors in groups]
    numbered = _numbered(model, traced, [selector for selectors in asked for selector in selectors])
    return [_selected(model, traced, numbered, selectors, allow_dead) for selectors in asked]


def _selected(
    model: nn.Module, traced: Trace, numbered: Sequence[Stage], asked: list[Selector], allow_dead: bool
) -> list[Stage]:
    chosen: dict[tuple[object, ...], Stage] = {}
    for selector in asked:
        for stage in _match(model, traced, numbered, selector, allow_dead):
            if not (stage.live or allow_dead):
                raise AWBError(_dead_message(model, stage, numbered))
            chosen.setdefault(stage.sites, stage)
    return sorted(chosen.values(), key=lambda s: (s.index is None, s.index or 0))


def _as_list(selectors: Selector | Iterable[Selector]) -> list[Selector]:
    if isinstance(selectors, Integral | str | Stage):
        return [selectors]
    if isinstance(selectors, bytes) or not isinstance(selectors, Iterable):
        raise AWBError(f"stages: {selectors!r} is a {type(selectors).__name__}; expected {_EXPECTED}")
    asked = list(selectors)
    if not asked:
        raise AWBError("stages is empty: name at least one stage")
    return asked


def _numbered(model: nn.Module, traced: Trace, asked: list[Selector]) -> list[Stage]:
    """The numbered stages; none if they cannot be found and nobody asks for them, since paths do without."""
    if all(isinstance(selector, Stage) for selector in asked):
        return []
    try:
        return number_stages(model, traced)
    except AWBError:
        by_path = all(isinstance(s, Stage) or (isinstance(s, str) and not _is_word(s)) for s in asked)
        if not by_path:
            raise
        return []


def _is_word(selector: str) -> bool:
    return selector in ("all", "last", "after") or _LAST.fullmatch(selector) is not None


def _match(
    model: nn.Module, traced: Trace, numbered: Sequence[Stage], selector: Selector, allow_dead: bool
) -> list[Stage]:
    if isinstance(selector, Stage):
        checked = [_checked(model, traced, selector)]
        return checked if allow_dead else mark_dead(model, traced, checked)
    if isinstance(selector, bool) or not isinstance(selector, Integral | str):
        raise AWBError(f"stages: {selector!r} is a {type(selector).__name__}; expected {_EXPECTED}")
    if isinstance(selector, Integral):
        return [_by_number(model, traced, numbered, int(selector))]
    last = _LAST.fullmatch(selector)
    if selector in ("all", "last") or last:
        live = [stage for stage in numbered if stage.live]
        if not live:
            raise AWBError(f"{selector!r}: {_known(model, traced, numbered)}")
        count = int(last[1]) if last else (len(live) if selector == "all" else 1)
        if not 1 <= count <= len(live):
            raise AWBError(f"{selector!r}: {type(model).__name__} has {len(live)} live stages")
        return live[-count:]
    if selector == "after":
        return [find_after(model, traced, list(numbered))]
    return _by_path(model, traced, numbered, selector)


def _checked(model: nn.Module, traced: Trace, stage: Stage) -> Stage:
    """The stage, if its sites are what the model shows: it may have been edited, or found in another model."""
    if not stage.sites:
        raise AWBError(f"{stage} has no sites, so nothing would be attached")
    sites = tuple(check_site(traced, site, stage.reduction) for site in stage.sites)
    try:
        known = {site for found in family_stages(model, traced) for site in found.sites}
    except AWBError:
        known = set()
    check_token_order(model, traced, [site for site in sites if site not in known])
    return replace(stage, sites=sites)


def _by_number(model: nn.Module, traced: Trace, numbered: Sequence[Stage], number: int) -> Stage:
    index = number - 1 if number > 0 else len(numbered) + number
    if number == 0 or not 0 <= index < len(numbered):
        raise AWBError(f"no stage {number}: {_known(model, traced, numbered)}")
    return numbered[index]


def _by_path(model: nn.Module, traced: Trace, numbered: Sequence[Stage], pattern: str) -> list[Stage]:
    by_path = {path: stage for stage in numbered for path in (stage.name, *(s.module for s in stage.sites))}
    names = [name for name, _ in traced.model.named_modules() if name]
    called = traced.counts["forward"]
    regex = _glob(pattern)
    matches = [name for name in names if name == pattern or (called[name] and regex.fullmatch(name))]
    if not matches:
        same = {id(module): name for name, module in traced.model.named_modules()}
        aliases = {n: same[id(m)] for n, m in traced.model.named_modules(remove_duplicate=False) if n not in names}
        if aliases.get(pattern):
            raise AWBError(f"{pattern!r} is the same module as {aliases[pattern]!r}: name it so")
        words = ["all", "last", "last:2", "after", *names]
        hint = _spelling(pattern, names) or did_you_mean(pattern, words)
        raise AWBError(f"no module matches {pattern!r}{hint}: {_known(model, traced, numbered)}")
    found = [by_path[name] for name in matches if name in by_path]
    fresh = [make_stage(traced, Entry(name)) for name in matches if name not in by_path]
    check_token_order(model, traced, [site for stage in fresh for site in stage.sites])
    return found + mark_dead(model, traced, fresh)


def _spelling(pattern: str, names: Sequence[str]) -> str:
    """A hint for what is no path, but a number, several selectors, or one of several maps; empty if it is none."""
    if _INT.fullmatch(pattern):
        return f"; did you mean the int {pattern.strip()}?"
    if "," in pattern or _RANGE.fullmatch(pattern):
        first, dash, last = pattern.partition("-")
        parts = range(int(first), int(last) + 1) if dash and "," not in pattern else pattern.split(",")
        several = [int(p) if _INT.fullmatch(str(p)) else str(p).strip() for p in parts if str(p).strip()]
        return f"; did you mean several, {several} (as a key of a mapping, {tuple(several)})?"
    path, bracket, _ = pattern.partition("[")
    if bracket and path in names:
        return f"; if {path!r} returns several maps, pass a Stage that says which one"
    return ""


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(_as_regex(part) for part in _GLOB.split(pattern)))


def _as_regex(part: str) -> str:
    """A wildcard, or what lies between two, as a regular expression."""
    if _GLOB.fullmatch(part) is None:
        return re.escape(part)
    if part[0] != "[":
        return {"**": ".*", "*": "[^.]*", "?": "[^.]"}[part]
    unlike, members = (part[1] in "!^"), part[1:-1].lstrip("!^")
    escaped = "".join(c if c == "-" else re.escape(c) for c in members)
    try:
        re.compile(f"[{escaped}]")
    except re.error:  # no range, such as [b-a]
        return re.escape(part)
    return f"[^.{escaped}]" if unlike else f"(?!\\.)[{escaped}]"


def _known(model: nn.Module, traced: Trace, numbered: Sequence[Stage]) -> str:
    config = getattr(model, "pretrained_cfg", None) or {}
    name = config.get("architecture") or type(model).__name__
    if not numbered:
        return f"no stages known for {name}; name modules by path, e.g. {candidate_paths(traced)}"
    return f"{name} has stages 1-{len(numbered)}: {shortlist([stage.name for stage in numbered])}"


def _dead_message(model: nn.Module, stage: Stage, numbered: Sequence[Stage]) -> str:
    live = [s.index for s in numbered if s.live and s.index is not None]
    earlier = f"attach at an earlier stage (the last live one is {live[-1]})" if live else "choose another place"
    if not any(site.num_prefix_tokens for site in stage.sites):
        return (
            f"{stage} is dead: its map has no way to what the model returns on which a gradient comes back (it is "
            f"thrown away, detached, or made under torch.no_grad() or inference_mode()), so a block there would not "
            f"learn; {earlier}, or pass allow_dead=True if you read it yourself"
        )
    pooled = "build the model with global_pool='avg', " if type(model).__module__.startswith("timm.") else ""
    return (
        f"{stage} is dead: the head reads only the class token, never the patch tokens after it, so a block "
        f"there would change nothing and get no gradient; {earlier}, {pooled}or pass allow_dead=True if you read "
        "the dense features yourself"
    )
