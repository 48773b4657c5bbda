"""Escape text of unknown content for a terminal, for Markdown and for HTML, so that it is shown as it is."""

from __future__ import annotations

import html
import re

# control characters, and those that turn the direction of what follows or break a line where none is meant
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
# each only where it means something, so that usual names stay as they are: an underscore between letters is none, nor
# is a `<` before a number. The second line is of what begins or ends a line: quotes, headings, lists
_SIGN = re.compile(
    r"[\\`*\[\]|]|(?<![^\W_])_|_(?![^\W_])"
    r"|^[>#]|#(?=#*$)|^[-+](?=[ -]|$)"
)
_OF_A_LIST = re.compile(r"^(\d+)(?=[.)](?: |$))")
_ENTITIES = {"&": "&amp;", "<": "&lt;", "~": "&#126;", "=": "&#61;"}  # signs that not everywhere a backslash escapes
_AS_ENTITY = re.compile(r"&(?=#?\w+;)|<(?![\s\d]|$)|~|^=(?==*$)")


def in_line(text: str) -> str:
    r"""Escape text for a terminal, as one line without control characters: it moves no cursor and breaks no row.

    Examples:
        >>> in_line("Mass\nor \x1b[2Jnodule")
        'Mass or  [2Jnodule'
    """
    return _INVISIBLE.sub(" ", text)


def in_markdown(text: str) -> str:
    r"""Escape text for Markdown: it makes no link, tag, emphasis, table cell, heading or list.

    Both GitHub's Markdown and Python-Markdown show it as it is. A usual name stays as it is in the source too.

    Examples:
        >>> in_markdown("Pleural_Thickening")
        'Pleural_Thickening'
        >>> in_markdown("[x](javascript:alert(1))|<b>")
        '\\[x\\](javascript:alert(1))\\|&lt;b>'
    """
    escaped = _OF_A_LIST.sub(r"\1\\", _SIGN.sub(r"\\\g<0>", in_line(text).strip()))
    return _AS_ENTITY.sub(lambda sign: _ENTITIES[sign.group()], escaped)


def in_html(text: str) -> str:
    """Escape text for HTML, between tags or in an attribute: it is not a tag, and closes neither.

    Examples:
        >>> in_html("<script>")
        '&lt;script&gt;'
    """
    return html.escape(in_line(text))


def in_fence(text: str, language: str = "text") -> str:
    r"""Fence lines in a code block of Markdown that none of them can close.

    Examples:
        >>> print(in_fence("a\n```\nb"))
        ````text
        a
        ```
        b
        ````
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
