"""What is said about YAML that can't be read: the line, and what is wrong there."""

from __future__ import annotations

import pytest
import yaml

from fastprune.text.yaml_errors import yaml_problem


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: [1\n", 3, "while parsing a flow sequence, expected ',' or ']'"),
        ("a: 1\nb: *no\n", 2, "found undefined alias 'no'"),
        ("a: 1\n\nb: \x07\n", 3, "the character U+0007 is not allowed"),
    ],
)
def test_the_line_and_what_is_wrong(text: str, line: int, problem: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        yaml.compose(text, Loader=yaml.SafeLoader)
    found, said = yaml_problem(caught.value, text)
    assert found == line
    assert said.startswith(f"not valid YAML: {problem}")
