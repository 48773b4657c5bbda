"""Convert the report's Markdown to one HTML page that holds its pictures and asks for nothing outside."""

from __future__ import annotations

import base64
import copy
import mimetypes
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from awb.markup import in_html

_STYLE = Path(__file__).with_name("page.css")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_AFTER_INLINE, _BEFORE_TOC = 20, 5  # Python-Markdown's priorities of tree processors


def to_html(text: str, folder: Path | None = None) -> str:
    """A whole HTML page from Markdown: contents, tables in boxes that scroll, pictures as data.

    Args:
        text: Markdown that begins with the title. Its links to pictures are relative to the folder.
        folder: Folder of the pictures; without one they stay links.
    """
    from markdown import Markdown
    from markdown.extensions.toc import TocExtension
    from markdown.treeprocessors import Treeprocessor

    class Layout(Treeprocessor):
        def run(self, root: Element) -> None:
            _lay_out(root, folder)

    page: Any = Markdown(extensions=["tables", "md_in_html", "sane_lists", TocExtension(toc_depth="2-3")])
    page.treeprocessors.register(Layout(page), "layout", (_AFTER_INLINE + _BEFORE_TOC) / 2)
    body = page.convert(text)
    title = in_html(text.splitlines()[0].lstrip("# "))
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE.read_text(encoding='utf-8')}</style></head>\n"
        f'<body>\n<nav aria-label="Contents"><details open><summary>Contents</summary>\n{page.toc}</details></nav>\n'
        f"<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def without_links(evaluation: str) -> str:
    """An evaluation as Markdown without links and tags: earlier versions wrote names into it unescaped."""
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", evaluation)
    return re.sub(r"(?<!\\)((?:\\\\)*)\[", r"\1\\[", text)


def _lay_out(root: Element, folder: Path | None) -> None:
    """Give tables a box and a caption, notes a class, and pictures their content and a caption."""
    heading: Element | None = None
    for parent in list(root.iter()):
        if parent.tag == "table":
            continue
        children, is_note = list(parent), False
        parent[:] = []
        for child in _with_figures(children):
            if re.fullmatch("h[1-6]", child.tag):
                heading = child
            if child.tag == "table":
                parent.append(_boxed(child, heading))
                heading = None
            else:
                parent.append(child)
            is_note = child.tag == "table" or (is_note and child.tag == "p")
            if is_note and child.tag == "p":
                child.set("class", "note")
    for picture in root.iter("img"):
        picture.set("loading", "lazy")
        if folder is not None:
            picture.set("src", _as_data(folder / picture.get("src", "")))


def _with_figures(children: list[Element]) -> Iterator[Element]:
    """The same elements, but a picture and the caption below it as one figure."""
    left = iter(enumerate(children))
    for place, child in left:
        following = children[place + 1] if place + 1 < len(children) else None
        if _holds_only(child, "img") and following is not None and _holds_only(following, "em"):
            figure = Element("figure")
            box = SubElement(figure, "div", {"class": "scroll", "tabindex": "0"})
            box.append(child[0])
            caption = SubElement(figure, "figcaption")
            caption.append(following[0])
            yield figure
            next(left)
        else:
            yield child


def _holds_only(element: Element, tag: str) -> bool:
    return (
        element.tag == "p"
        and len(element) == 1
        and element[0].tag == tag
        and not (element.text or "").strip()
        and not (element[0].tail or "").strip()
    )


def _boxed(table: Element, heading: Element | None) -> Element:
    """A table in a box that scrolls; the heading above it is its caption for those who hear the page."""
    box = Element("div", {"class": "scroll", "tabindex": "0"})
    box.append(table)
    if heading is not None:
        caption = copy.deepcopy(heading)
        caption.tag, caption.attrib, caption.tail = "caption", {}, None
        table.insert(0, caption)
    return box


def _as_data(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
