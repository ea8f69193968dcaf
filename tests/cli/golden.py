"""Golden files: outputs that people and programs rely on, compared word for word.

If you changed an output on purpose, rewrite the files and read the difference before you commit:

    FASTPRUNE_REWRITE_GOLDEN=1 python -m pytest tests/cli
    git diff tests/cli/golden
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent / "golden"
_REWRITE = bool(os.environ.get("FASTPRUNE_REWRITE_GOLDEN"))
_TIMES = (
    (re.compile(r"^(Time: ).*", re.MULTILINE), r"\1<time>"),
    (re.compile(r"^(Estimated time of the real run: )about [^(]*", re.MULTILINE), r"\1<time> "),
    (re.compile(r'^( +"(?:scan_seconds|seconds)": )[0-9.e-]+', re.MULTILINE), r"\g<1>0.0"),
    (re.compile(r'^( +"(?:scan|plan|apply)": )[0-9.e-]+', re.MULTILINE), r"\g<1>0.0"),
)


def check_golden(name: str, text: str, *, cache: Path | None = None) -> None:
    """Compares an output with its golden file, or rewrites the file if asked to.

    Args:
        name: The file's name.
        text: The output.
        cache: The path of the cache, which differs in every run.
    """
    text = normalised(text, cache)
    path = _FOLDER / name
    if _REWRITE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"there is no golden file {name}; see {__name__} for how to write it"
    assert text == path.read_text(encoding="utf-8")


def normalised(text: str, cache: Path | None = None) -> str:
    """A text with words in place of what differs in every run: times, and the path of the cache."""
    if cache is not None:
        text = text.replace(str(cache), "<cache>")
    for pattern, replacement in _TIMES:
        text = pattern.sub(replacement, text)
    return text
