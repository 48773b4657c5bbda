"""Select stages by number, word, path, glob or `Stage`: every selector must match."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from numbers import Integral

from torch import nn

from awb.errors import AWBError, did_you_mean, shortlist
from awb.places import Site, Stage
from awb.stages.advice import candidate_paths
from awb.stages.branches import branch_ends
from awb.stages.families import Entry
from awb.stages.find import family_stages, find_after, make_stage, mark_dead
from awb.stages.sites import check_site
from awb.stages.token_order import check_token_order
from awb.stages.trace import Trace

Selector = int | str | Stage
_BRANCHES = re.compile(r"branches(?::(\d+)(?:-(\d+))?)?")
_LAST = re.compile(r"last:(\d+)")
_INT = re.compile(r"\s*-?\d+\s*")
_RANGE = re.compile(r"\d+\s*-\s*\d+")
_GLOB = re.compile(r"(\*\*|\*|\?|\[[!^]?[^]!^]+\])")
_EXPECTED = "an int, a str, a Stage or a list of these"


def select_stages(
    model: nn.Module, traced: Trace, groups: Sequence[Selector | Iterable[Selector]], allow_dead: bool = False
) -> list[list[tuple[Stage, Site]]]:
    """Select the places that groups of selectors name.

    Args:
        model: The model.
        traced: The trace of the model.
        groups: Selectors: 1-based or negative ints, `"all"`, `"last"`, `"last:k"`, `"after"`, `"branches"` and
            `"branches:3-4"` (ends of residual branches), module paths, globs (`*` and `?` within one path segment,
            `[34]` for one of these characters, `**` across), `Stage` objects, or a list of these.
        allow_dead: Accept stages that the head never reads.

    Returns:
        For each group, each of its stages once, numbered ones first, with each of its sites.

    Raises:
        AWBError: A selector matches nothing, or names a dead stage.
    """
    asked = [_as_list(selectors) for selectors in groups]
    numbered = _Numbered(model, traced)
    chosen = [[stage for selector in selectors for stage in _match(numbered, selector)] for selectors in asked]
    if not allow_dead:
        _refuse_dead(numbered, [stage for stages in chosen for stage in stages])
    return [_places(stages) for stages in chosen]


class _Numbered:
    """Numbered stages of a model, found when they are first needed, and measured for liveness only if necessary.

    Attributes:
        model: The model.
        traced: The trace of the model.
    """

    def __init__(self, model: nn.Module, traced: Trace) -> None:
        self.model, self.traced = model, traced
        self._live: dict[tuple[Site, ...], bool] = {}

    @cached_property
    def stages(self) -> list[Stage]:
        """Stages, assumed live.

        Raises:
            AWBError: They cannot be described.
        """
        return family_stages(self.model, self.traced)

    @cached_property
    def measured(self) -> list[Stage]:
        """Stages, with `live` measured."""
        return self.liveness(self.stages)

    @property
    def if_known(self) -> list[Stage]:
        """Stages, or none if they cannot be described: paths do not need them."""
        try:
            return self.stages
        except AWBError:
            return []

    def liveness(self, stages: Sequence[Stage]) -> list[Stage]:
        """Given stages with `live` measured; one run covers all whose liveness is not yet known."""
        fresh = {stage.sites: stage for stage in stages if stage.sites not in self._live}
        self._live |= {stage.sites: stage.live for stage in mark_dead(self.model, self.traced, list(fresh.values()))}
        return [replace(stage, live=self._live[stage.sites]) for stage in stages]


def _refuse_dead(numbered: _Numbered, stages: list[Stage]) -> None:
    dead = next((stage for stage in numbered.liveness(stages) if not stage.live), None)
    if dead is not None:
        raise AWBError(_dead_message(numbered, dead))


def _places(stages: list[Stage]) -> list[tuple[Stage, Site]]:
    """Each stage once, numbered ones first, with each of its sites."""
    distinct: dict[tuple[Site, ...], Stage] = {}
    for stage in stages:
        distinct.setdefault(stage.sites, stage)
    ordered = sorted(distinct.values(), key=lambda stage: (stage.index is None, stage.index or 0))
    return [(stage, site) for stage in ordered for site in stage.sites]


def _as_list(selectors: Selector | Iterable[Selector]) -> list[Selector]:
    if isinstance(selectors, Integral | str | Stage):
        return [selectors]
    if isinstance(selectors, bytes) or not isinstance(selectors, Iterable):
        raise AWBError(f"stages: {selectors!r} is a {type(selectors).__name__}; expected {_EXPECTED}")
    asked = list(selectors)
    if not asked:
        raise AWBError("stages is empty: name at least one stage")
    return asked


def _match(numbered: _Numbered, selector: Selector) -> list[Stage]:
    """Stages that a selector names; their liveness may not be known yet."""
    if isinstance(selector, Stage):
        return [_checked(numbered, selector)]
    if isinstance(selector, bool) or not isinstance(selector, Integral | str):
        raise AWBError(f"stages: {selector!r} is a {type(selector).__name__}; expected {_EXPECTED}")
    if isinstance(selector, Integral):
        return [_by_number(numbered, int(selector))]
    last = _LAST.fullmatch(selector)
    if selector in ("all", "last") or last:
        live = [stage for stage in numbered.measured if stage.live]
        if not live:
            raise AWBError(f"{selector!r}: {_known(numbered)}")
        count = int(last[1]) if last else (len(live) if selector == "all" else 1)
        if not 1 <= count <= len(live):
            raise AWBError(f"{selector!r}: {type(numbered.model).__name__} has {len(live)} live stages")
        return live[-count:]
    if selector == "after":
        return [find_after(numbered.model, numbered.traced, numbered.stages)]
    if branches := _BRANCHES.fullmatch(selector):
        numbers = None if branches[1] is None else (int(branches[1]), int(branches[2] or branches[1]))
        return _by_branches(numbered, selector, numbers)
    return _by_path(numbered, selector)


def _checked(numbered: _Numbered, stage: Stage) -> Stage:
    """Check a stage given by the caller: it may have been written by hand, edited, or found in another model."""
    traced = numbered.traced
    if not stage.sites:
        raise AWBError(f"{stage} has no sites, so nothing would be attached")
    sites = tuple(check_site(traced, site, stage.reduction) for site in stage.sites)
    known = {site for found in numbered.if_known for site in found.sites}
    check_token_order(numbered.model, traced, [site for site in sites if site not in known])
    return replace(stage, sites=sites)


def _by_number(numbered: _Numbered, number: int) -> Stage:
    count = len(numbered.stages)
    index = number - 1 if number > 0 else count + number
    if number == 0 or not 0 <= index < count:
        raise AWBError(f"no stage {number}: {_known(numbered)}")
    return numbered.stages[index]


def _by_branches(numbered: _Numbered, selector: str, numbers: tuple[int, int] | None) -> list[Stage]:
    """Ends of residual branches: of given stages every one, of the whole model every live one, as with `"all"`."""
    ends = branch_ends(numbered.traced, numbered.if_known, numbers)
    try:
        stages = _make_stages(numbered, ends)
    except AWBError as error:
        raise AWBError(f"{selector!r}: {error}; or choose stages, such as 'all'") from error
    if numbers is not None:
        return stages
    return [stage for stage in numbered.liveness(stages) if stage.live] or stages


def _by_path(numbered: _Numbered, pattern: str) -> list[Stage]:
    traced = numbered.traced
    names = [name for name, _ in traced.model.named_modules() if name]
    called = traced.counts["forward"]
    regex = _glob(pattern)
    matches = [name for name in names if name == pattern or (called[name] and regex.fullmatch(name))]
    if not matches:
        same = {id(module): name for name, module in traced.model.named_modules()}
        aliases = {n: same[id(m)] for n, m in traced.model.named_modules(remove_duplicate=False) if n not in names}
        if aliases.get(pattern):
            raise AWBError(f"{pattern!r} is the same module as {aliases[pattern]!r}: name it so")
        words = ["all", "last", "last:2", "after", "branches", "branches:3-4", *names]
        hint = _spelling(pattern, names) or did_you_mean(pattern, words)
        raise AWBError(f"no module matches {pattern!r}{hint}: {_known(numbered)}")
    return _make_stages(numbered, matches)


def _make_stages(numbered: _Numbered, matches: Sequence[str]) -> list[Stage]:
    """Stages of modules by their paths: the numbered ones, then new ones."""
    traced = numbered.traced
    by_path = {path: stage for stage in numbered.if_known for path in (stage.name, *(s.module for s in stage.sites))}
    found = [by_path[name] for name in matches if name in by_path]
    fresh = [make_stage(traced, Entry(name)) for name in matches if name not in by_path]
    check_token_order(numbered.model, traced, [site for stage in fresh for site in stage.sites])
    return found + fresh


def _spelling(pattern: str, names: Sequence[str]) -> str:
    """Hint for a pattern that is a number, several selectors, or one of several maps; empty for any other."""
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
    """A wildcard, or the text between two wildcards, as a regular expression."""
    if _GLOB.fullmatch(part) is None:
        return re.escape(part)
    if part[0] != "[":
        return {"**": ".*", "*": "[^.]*", "?": "[^.]"}[part]
    unlike, members = (part[1] in "!^"), part[1:-1].lstrip("!^")
    escaped = "".join(c if c == "-" else re.escape(c) for c in members)
    try:
        re.compile(f"[{escaped}]")
    except re.error:  # not a range, such as [b-a]
        return re.escape(part)
    return f"[^.{escaped}]" if unlike else f"(?!\\.)[{escaped}]"


def _known(numbered: _Numbered) -> str:
    """List of the model's stages, for an error."""
    model, stages = numbered.model, numbered.if_known
    config = getattr(model, "pretrained_cfg", None) or {}
    name = config.get("architecture") or type(model).__name__
    if not stages:
        return f"no stages known for {name}; name modules by path, e.g. {candidate_paths(numbered.traced)}"
    return f"{name} has stages 1-{len(stages)}: {shortlist([stage.name for stage in stages])}"


def _dead_message(numbered: _Numbered, stage: Stage) -> str:
    live = [s.index for s in numbered.liveness(numbered.if_known) if s.live and s.index is not None]
    earlier = f"attach at an earlier stage (the last live one is {live[-1]})" if live else "choose another place"
    if not any(site.num_prefix_tokens for site in stage.sites):
        return (
            f"{stage} is dead: its map has no way to what the model returns on which a gradient comes back (it is "
            f"thrown away, detached, or made under torch.no_grad() or inference_mode()), so a block there would not "
            f"learn; {earlier}, or pass allow_dead=True if you read it yourself"
        )
    pooled = "build the model with global_pool='avg', " if type(numbered.model).__module__.startswith("timm.") else ""
    return (
        f"{stage} is dead: the head reads only the class token, never the patch tokens after it, so a block "
        f"there would change nothing and get no gradient; {earlier}, {pooled}or pass allow_dead=True if you read "
        "the dense features yourself"
    )
