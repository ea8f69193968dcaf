"""What PyYAML says about a document that it can't read, in our words.

Stage: rim. Input: an error and the document. Output: text. Pure, no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import yaml


def yaml_problem(error: yaml.YAMLError, text: str) -> tuple[int | None, str]:
    """The line of an error of `yaml.compose`, from 1, if it is known; and what is wrong there."""
    import yaml

    if isinstance(error, yaml.reader.ReaderError):
        character = f"U+{ord(text[error.position]):04X}"
        line = text.count("\n", 0, error.position) + 1
        return line, f"not valid YAML: the character {character} is not allowed"
    assert isinstance(error, yaml.MarkedYAMLError)
    mark = error.problem_mark or error.context_mark
    problem = ", ".join(filter(None, (error.context, error.problem)))
    return mark.line + 1 if mark else None, f"not valid YAML: {problem}"
