"""Convert the report's Markdown to one HTML page."""

from __future__ import annotations

import re

from awb.markup import in_html

_STYLE = """body { font: 15px/1.5 system-ui, sans-serif; max-width: 1400px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: 13px; margin: 1em 0 }
td, th { border: 1px solid #ccc; padding: 3px 8px; white-space: nowrap }
th { background: #f3f3f3; white-space: normal } img { max-width: 100% }
h2 { margin-top: 2em } summary { cursor: pointer }
details { margin: .5em 0 } .warning { background: #fff3cd; border: 1px solid #e0c36a; padding: .5em 1em }"""


def to_html(text: str) -> str:
    """A whole HTML page, with title and style, from Markdown."""
    from markdown import markdown

    body = markdown(text, extensions=["tables", "md_in_html", "sane_lists"])
    title = in_html(text.splitlines()[0].lstrip("# "))
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def without_links(evaluation: str) -> str:
    """An evaluation as Markdown without links and tags: earlier versions wrote names into it unescaped."""
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", evaluation)
    return re.sub(r"(?<!\\)((?:\\\\)*)\[", r"\1\\[", text)
