"""All that changes a cache begins in one place, and there is one list of what is public."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

import pytest
from tests.conformance.source import dotted, imported, modules
from tools.error_tree import read_errors
from tools.public_names import stub

import fastprune

# What keeps others away, and carries out; and the modules that may use each.
HELD = "deletion/held_cache.py"
ONLY_IN = {
    "fastprune.guard.lock.cache_lock": {"guard/exclusive.py"},
    "fastprune.guard.servers.refuse_servers": {"guard/exclusive.py"},
    "fastprune.guard.exclusive.hold": {HELD},
    # tune deletes files of its own, in a cache of its own.
    "fastprune.deletion.pruning.carry_out": {HELD, "tuning/deleting.py"},
    "fastprune.deletion.repairing.carry_out": {HELD},
    "fastprune.deletion.trashing.restore": {HELD},
    "fastprune.deletion.trashing.empty": {HELD},
}


@cache
def used_by_modules() -> dict[str, set[str]]:
    """What each module of fastprune uses."""
    return {name: set(uses(tree)) for name, tree in modules().items()}


def uses(tree: ast.Module) -> Iterator[str]:
    """The dotted names of all that a module imports, and of what it takes from modules."""
    names = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    yield from imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = dotted(node).partition(".")
            if first in names:
                yield f"{names[first]}.{rest}"
            else:
                yield dotted(node)


@pytest.mark.parametrize("what", ONLY_IN)
def test_one_module_uses_what_begins_a_change(what: str) -> None:
    assert {name for name, used in used_by_modules().items() if what in used} == ONLY_IN[what]


@pytest.mark.parametrize(
    "source",
    [
        "from fastprune.guard.lock import cache_lock as harmless",
        "from fastprune.guard import lock\nlock.cache_lock('x')",
        "import fastprune.guard.lock\nfastprune.guard.lock.cache_lock('x')",
    ],
)
def test_the_test_sees_who_uses_the_lock(source: str) -> None:
    assert "fastprune.guard.lock.cache_lock" in uses(ast.parse(source))


def test_every_error_is_public() -> None:
    assert {error.name for error in read_errors()} <= set(fastprune.__all__)


def test_what_is_public_shows() -> None:
    assert set(fastprune.__all__) <= set(dir(fastprune))
    for name in ("locked", "explain", "list_trash", "tune", "open_audit_log", "survey"):
        assert name in dir(fastprune)


def test_type_checkers_read_the_same_names() -> None:
    tree = ast.parse(stub())
    names = {
        alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert names == set(fastprune.__all__)
