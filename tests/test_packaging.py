"""What the repository's metadata says of itself is true: packages that pages need, pinned versions, citation."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
OF_THE_EXAMPLE = ROOT / "docs" / "chestxray14"
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "```python" in page.read_text() and OF_THE_EXAMPLE not in page.parents
]


@cache
def distributions() -> Mapping[str, list[str]]:
    """Names of the packages that carry each importable module; reading them takes a second."""
    return packages_distributions()


def core() -> set[str]:
    """Packages that `pyproject.toml` declares for the library alone."""
    (declared,) = re.findall(
        r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL
    )
    return set(re.findall(r'^    "([\w-]+)', declared, re.MULTILINE))


def imported(text: str) -> Iterator[str]:
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_the_packages_that_it_needs_beside_the_core(page: Path) -> None:
    text = page.read_text()
    owners = distributions()
    modules = {module for module in imported(text) if module not in {"awb", *sys.stdlib_module_names}}
    packages = {module: {canonicalize_name(name) for name in owners[module]} for module in modules}
    unsaid = [
        module
        for module, names in packages.items()
        if not names & core() and not any(re.search(rf"pip install [^`]*\b{re.escape(name)}\b", text) for name in names)
    ]
    assert not unsaid, f"write `pip install NAME` on {page.name} for {unsaid}"


def test_pre_commit_runs_the_pinned_ruff() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert f"ruff=={repo['rev'].removeprefix('v')}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_citation_says_what_the_metadata_does() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'authors = [{{name = "{citation["authors"][0]["name"]}"}}]' in project
    assert f'license = "{citation["license"]}"' in project
    assert {"cff-version", "message", "title"} <= set(citation)
