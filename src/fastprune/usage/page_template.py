"""The report as one page of HTML that loads nothing: markup, style, script and facts in one.

Stage: report. Input: a document. Output: a page. I/O: reads the parts of the page, which
are files in `html/`.

What comes from a cache reaches the page as JSON only, in an element that no browser runs,
and the script makes text of it, never markup. The page's own policy allows this script and
this style by their hashes, and nothing else: no network, no images, no frames, no forms.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

import orjson

_SCRIPTS = ("words.js", "squarify.js", "map.js", "charts.js", "table.js", "page.js")
_ESCAPES = {char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def render_page(document: dict[str, Any]) -> bytes:
    """Makes the page of the document that `fastprune.usage.page.page_document` gives."""
    style = _part("page.css")
    script = '"use strict";\n' + "".join(map(_part, _SCRIPTS))
    parts = {
        "{policy}": _policy(style, script),
        "{style}": style,
        "{report}": embedded_json(document),
        "{script}": script,
    }
    page, rest = "", _part("page.html")
    for mark, part in parts.items():
        # Only the template is searched, never what is put into it.
        before, found, rest = rest.partition(mark)
        assert found, f"page.html has no {mark}"
        page += before + part
    return (page + rest).encode()


def embedded_json(document: object) -> str:
    """JSON that can stand in an HTML element: the same value, without any markup."""
    text = orjson.dumps(document).decode()
    for char, escape in _ESCAPES.items():
        text = text.replace(char, escape)
    return text


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy (https://www.w3.org/TR/CSP3/) for exactly these two."""
    return (
        f"default-src 'none'; script-src '{_source(script)}'; style-src '{_source(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"sha256-{digest}"


def _part(name: str) -> str:
    return resources.files("fastprune.usage").joinpath("html", name).read_text("utf-8")
