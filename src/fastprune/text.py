"""Text from outside, made safe to print.

Stage: report. Input and output: text. Pure, no I/O.

Whoever can push an image to an upstream registry chooses text that ends up in the
cache. Printed raw it could move the cursor, change colours or hide lines in a terminal.
"""

from __future__ import annotations

import re

# What orjson writes raw although a terminal acts on it: DEL, the C1 controls, and
# characters that are invisible or turn the direction of writing.
_UNSAFE_IN_JSON = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def printable(text: str) -> str:
    """Replaces everything that is no visible character (or a blank) by an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def column(text: str) -> str:
    """Makes text fit for one column of a line: printable, no blank in it, `-` if empty."""
    return printable(text).replace(" ", "\\x20") or "-"


def safe_json(document: bytes) -> bytes:
    """Escapes in JSON, which stays the same value, what a terminal would act on."""
    if document.isascii() and b"\x7f" not in document:
        return document
    text = _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", document.decode())
    return text.encode()


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
