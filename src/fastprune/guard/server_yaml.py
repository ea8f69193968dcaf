"""The YAML of ociregistry's own configuration file, read as the server reads it.

Stage: rim. Input: bytes. Output: a mapping. Pure, no I/O.

The server reads its file with another YAML library (go.yaml.in/yaml) than this program (PyYAML).
The two differ in places: PyYAML follows YAML 1.1, the other one a mixture of 1.1 and 1.2. What
both surely read in the same way is returned. Everything else is an error: what the server makes
of it can't be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastprune.text.yaml_errors import yaml_problem

if TYPE_CHECKING:
    import yaml

IMAGE_PATH = "imagePath"
PRUNE_CONFIG = "pruneConfig"

_TEXTS = frozenset(("type", "expr", "duration"))
_NUMBERS = frozenset(("count",))
_DEEPEST = 64
_BEING_READ = object()
_TAG = "tag:yaml.org,2002:"
_NULL = f"{_TAG}null"
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_HALF_PAIR = re.compile("[\ud800-\udfff]")
# Line breaks for YAML 1.1, but not for 1.2: a comment may end there, or not.
_DOUBTFUL_BREAK = re.compile("[\u0085\u2028\u2029]")


class ServerYamlError(ValueError):
    """The server's file is damaged, or two YAML parsers may read it differently.

    The message says what and, where that is known, in which line.
    """


def load(content: bytes) -> dict[str, Any]:
    """Reads the file to a mapping; an empty one for an empty file.

    Keys stay as they are written, so that the caller can tell `imagePath` from `imagepath`: the
    server knows its keys in one spelling only. `value_of` finds a key in any letter case. Keys are
    unique in each mapping, whatever their letter case.

    A date or time is returned as the text that stands there, as the server takes it. An alias is
    followed; merge keys (`<<`) are not. They are refused where they could bring in keys that
    fastprune reads.

    Raises:
        ServerYamlError: It is not YAML; it is no mapping, or several documents; a key is there
            twice, or twice in another letter case; it is nested too deeply; or `imagePath` or
            something in `pruneConfig` is written such that two parsers may read it differently.
    """
    import yaml

    try:
        text = content.decode()
        if doubtful := _DOUBTFUL_BREAK.search(text):
            line = text.count("\n", 0, doubtful.start()) + 1
            character = f"U+{ord(doubtful[0]):04X}"
            raise ServerYamlError(f"line {line}: the character {character} may end a line or not")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == _NULL):
            return {}
        if not isinstance(root, yaml.MappingNode):
            raise ServerYamlError("not a mapping of keys to values")
        mapping: dict[str, Any] = _Reader().value(root)
        _check_ours(root)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ServerYamlError(f"line {line}: not valid YAML: not UTF-8 text") from None
    except yaml.YAMLError as error:
        at, problem = yaml_problem(error, text)
        raise ServerYamlError(f"line {at}: {problem}" if at else problem) from None
    except RecursionError:
        raise ServerYamlError("nested too deeply") from None
    return mapping


def value_of(mapping: dict[str, Any], key: str) -> Any:
    """The value of a key in any letter case; None if it is not there."""
    for name, value in mapping.items():
        if name.lower() == key.lower():
            return value
    return None


def prunes_by_itself(document: dict[str, Any]) -> bool:
    """Whether a server with this file, as `load` gives it, removes manifests by itself."""
    prune = document.get(PRUNE_CONFIG)
    if not isinstance(prune, dict):
        return False
    return prune.get("enabled") is True and prune.get("dryrun") is not True


class _Reader:
    """Makes values of nodes; a node that aliases repeat is read once."""

    def __init__(self) -> None:
        import yaml

        self._constructor = yaml.constructor.SafeConstructor()
        self._known: dict[int, Any] = {}

    def value(self, node: yaml.Node, depth: int = 0) -> Any:
        if depth > _DEEPEST:
            raise _wrong(node, "nested too deeply")
        if id(node) not in self._known:
            # A value that contains itself is met again before it is read.
            self._known[id(node)] = _BEING_READ
            self._known[id(node)] = self._read(node, depth)
        value = self._known[id(node)]
        if value is _BEING_READ:
            raise _wrong(node, "a value that contains itself")
        return value

    def _read(self, node: yaml.Node, depth: int) -> Any:
        import yaml

        if isinstance(node, yaml.ScalarNode):
            try:
                value = self._constructor.construct_object(node)
            except (ValueError, LookupError, ArithmeticError, AttributeError, TypeError):
                shown = f"{node.value!r} is no {node.tag.removeprefix(_TAG)}"
                raise _wrong(node, f"not valid YAML: {shown}") from None
            if _HALF_PAIR.search(node.value):
                raise _wrong(node, "half a surrogate pair is no character")
            return node.value if node.tag == f"{_TAG}timestamp" else value
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(one, depth + 1) for one in node.value]
        if not isinstance(node, yaml.MappingNode) or node.tag != f"{_TAG}map":
            raise _wrong(node, f"the tag {node.tag} is not known")
        return self._mapping(node, depth)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        import yaml

        values: dict[str, Any] = {}
        seen: dict[str, tuple[str, int]] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _wrong(key_node, "a key that is not a text")
            key = key_node.value
            first, at = seen.setdefault(key.lower(), (key, key_node.start_mark.line + 1))
            if key in values or first != key:
                there = "" if first == key else f" as {first!r}"
                raise _wrong(key_node, f"{key!r} is there already{there}, on line {at}")
            values[key] = self.value(value_node, depth + 1)
        return values


def _wrong(node: yaml.Node, what: str) -> ServerYamlError:
    return ServerYamlError(f"line {node.start_mark.line + 1}: {what}")


def _check_ours(root: yaml.MappingNode) -> None:
    """Refuses values that the server may read differently, in the keys that fastprune reads."""
    import yaml

    for key, node in _fields(root):
        if key.lower() == IMAGE_PATH.lower():
            _check_text(key, node)
        elif key.lower() == PRUNE_CONFIG.lower() and isinstance(node, yaml.MappingNode):
            for name, value in _fields(node):
                if name.lower() in _TEXTS:
                    _check_text(f"{key}.{name}", value)
                elif name.lower() in _NUMBERS:
                    _check_number(f"{key}.{name}", value)
                else:
                    _check_tag(f"{key}.{name}", value)


def _fields(mapping: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
    for key_node, node in mapping.value:
        if key_node.value == "<<":
            raise _wrong(key_node, "a merge key (<<); write out what it brings in")
        yield key_node.value, node


def _check_text(key: str, node: yaml.Node) -> None:
    _check_tag(key, node)
    if node.tag.removeprefix(_TAG) in ("str", "null", "timestamp"):
        if "\0" in node.value:
            raise _wrong(node, f"{key} holds a NUL character")
        return
    is_scalar = isinstance(node.value, str)
    found = f"{node.value!r}; put it in quotes" if is_scalar else "it holds other values"
    raise _wrong(node, f"{key} is not a string: {found}")


def _check_number(key: str, node: yaml.Node) -> None:
    _check_tag(key, node)
    if node.tag == f"{_TAG}int" and not _DECIMAL.fullmatch(node.value):
        problem = "can be read as several numbers; write it in plain decimal digits"
        raise _wrong(node, f"{key}: {node.value!r} {problem}")


def _check_tag(key: str, node: yaml.Node) -> None:
    """Refuses a tag that changes the meaning of a value."""
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        return
    plain = node.style is None
    resolver: Any = yaml.resolver.Resolver()
    if node.tag != resolver.resolve(yaml.ScalarNode, node.value, (plain, not plain)):
        raise _wrong(node, f"{key} has a tag; write the value without one")
