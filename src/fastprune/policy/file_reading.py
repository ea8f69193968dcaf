"""TOML or YAML to entries; those of YAML with the line on which the key stands.

Python's parser of TOML does not tell lines, nor does tomlkit: messages name the key.

Stage: rim. Input: text. Output: `Entry`s. Pure, no I/O.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from fastprune.errors import UsageError
from fastprune.policy.file_entries import Entry
from fastprune.text.yaml_errors import yaml_problem

if TYPE_CHECKING:
    import yaml

_AT_LINE = re.compile(r" \(at line (\d+), column (\d+)\)")
_AT_END = " (at end of document)"
_YAML_TIME = "tag:yaml.org,2002:timestamp"


def read_toml(text: str, source: str) -> Entry:
    """Reads a TOML document (https://toml.io/en/v1.0.0).

    Raises:
        UsageError: It is not valid; the message names the line.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line, reason = _toml_place(text, str(error))
        raise UsageError(f"{source}, line {line}: not valid TOML: {reason}") from None
    except RecursionError:
        raise UsageError(f"{source}: nested too deeply") from None
    return _toml_entry(document)


def _toml_entry(value: Any) -> Entry:
    if isinstance(value, dict):
        value = {key: _toml_entry(inner) for key, inner in value.items()}
    elif hasattr(value, "isoformat"):
        value = value.isoformat()
    return Entry(value)


def _toml_place(text: str, message: str) -> tuple[int, str]:
    at = _AT_LINE.search(message)
    if at:
        return int(at[1]), message.replace(at[0], f", column {at[2]}")
    return text.rstrip("\n").count("\n") + 1, message.replace(_AT_END, ", at the end")


def read_yaml(text: str, source: str) -> Entry:
    """Reads a YAML document (https://yaml.org/spec/1.1/, as PyYAML does, without tags).

    Raises:
        UsageError: It is not valid, or a key is there twice; the message names the line.
    """
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        return Entry({}, 1) if root is None else _yaml_entry(root, 1, source, 0)
    except yaml.YAMLError as error:
        line, problem = yaml_problem(error, text)
        where = f"{source}, line {line}" if line else source
        raise UsageError(f"{where}: {problem}") from None
    except RecursionError:
        raise UsageError(f"{source}: nested too deeply") from None


_DEEPEST = 8


def _yaml_entry(node: yaml.Node, line: int, source: str, depth: int) -> Entry:
    import yaml

    # An alias can contain itself.
    if depth > _DEEPEST:
        raise UsageError(f"{source}, line {line}: nested too deeply")
    if isinstance(node, yaml.ScalarNode):
        try:
            value = yaml.constructor.SafeConstructor().construct_object(node)
        except ValueError:
            # The value does not fit its tag. The check of its key will refuse the text.
            value = node.value
        return Entry(node.value if node.tag == _YAML_TIME else value, line)
    if isinstance(node, yaml.SequenceNode):
        entries = (_yaml_entry(one, line, source, depth + 1) for one in node.value)
        return Entry([entry.value for entry in entries], line)
    table: dict[str, Entry] = {}
    for key_node, value_node in node.value:
        key, at = str(key_node.value), key_node.start_mark.line + 1
        if key in table:
            raise UsageError(
                f"{source}, line {at}: {key!r} is there already, on line {table[key].line}"
            )
        table[key] = _yaml_entry(value_node, at, source, depth + 1)
    return Entry(table, line)
