"""The documentation runs: the Python blocks of README.md and docs/, page by page, and every docstring's examples."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import math
import re
from pathlib import Path
from unittest import SkipTest

import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, SkipParser

import awb
import awb.study
from tests.levels import slow_but

ROOT = Path(__file__).parent.parent
PAGES = [p for p in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if "```python" in p.read_text()]
MODULES = [p for p in sorted((ROOT / "awb").rglob("*.py")) if ">>>" in p.read_text()]


class RunPython(PythonEvaluator):
    """Run a block in the page's namespace and keep what it prints."""

    def __call__(self, example: Example) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            super().__call__(example)
        example.namespace["__printed__"] = printed.getvalue()


def compare_output(example: Example) -> None:
    """A `text` block is what the Python block before it printed."""
    printed = example.namespace.pop("__printed__")
    assert same_output(example.parsed, printed), f"{example.path}, line {example.line} should read:\n{printed}"


def same_output(shown: str, printed: str) -> bool:
    """Word by word the same, but for white space, rules, and the last digits of decimal fractions."""
    rule = re.compile("-+")
    ours, theirs = ([rule.sub("-", word) for word in text.split()] for text in (shown, printed))
    return len(ours) == len(theirs) and all(map(_same_word, ours, theirs))


def _same_word(a: str, b: str) -> bool:
    if a == b:
        return True
    fraction = re.compile(r"-?\d*\.\d+(e-?\d+)?")
    return all(map(fraction.fullmatch, (a, b))) and math.isclose(float(a), float(b), rel_tol=0.02)


@pytest.mark.parametrize("page", slow_but([ROOT / "README.md"], PAGES), ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_a_page_run_and_print_what_they_say(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # for the files that a page writes
    blocks = [CodeBlockParser("python", RunPython()), CodeBlockParser("text", compare_output), SkipParser()]
    document = Sybil(blocks).parse(page)
    for example in document.examples():
        try:
            example.evaluate()
        except SkipTest:
            assert "pretrained=True" in example.parsed, f"{page}, line {example.line}: only a download may be skipped"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstring_examples_print_what_they_say(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some write files
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert attempted > 0
    assert failed == 0


def test_the_reference_lists_every_public_name() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    for module in (awb, awb.study):
        listed = re.findall(rf"^::: {re.escape(module.__name__)}\.(\w+)$", pages, re.MULTILINE)
        assert sorted(listed) == sorted(module.__all__)
