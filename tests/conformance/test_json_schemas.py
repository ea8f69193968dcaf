"""The JSON that commands print matches the schemas in docs/schemas/, field by field.

If you add a field, a format or a command with `--format json`, add it to docs/schemas/.
"""

from __future__ import annotations

import copy
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.support.cachebuilder import CacheBuilder, Corruption
from tests.support.inprocess import Output, invoke
from tests.support.realcaches import REAL_CACHES, unpack
from tests.support.schemas import errors, fits, schemas, subschemas
from tools.command_tree import read_program

pytestmark = pytest.mark.usefixtures("read_again_at_once")

# Policies and messages have fields that depend on what there is to say.
OPEN = {"common": 1, "audit-line": 0, "message": 1}


@pytest.mark.parametrize("name", schemas())
def test_a_schema_is_one_and_says_what_it_describes(name: str) -> None:
    schema = schemas()[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["title"]
    assert schema["description"]


@pytest.mark.parametrize("name", schemas())
def test_a_schema_is_closed(name: str) -> None:
    objects = [one for one in subschemas(schemas()[name]) if one.get("type") == "object"]
    opened = [one for one in objects if one.get("additionalProperties") is not False]
    assert len(opened) == OPEN.get(name, 0)
    assert all(
        set(one["required"]) <= set(one["properties"]) for one in objects if one not in opened
    )


def test_every_command_with_json_has_a_schema_and_the_page_names_it() -> None:
    described: dict[str, str] = {}
    for name, schema in schemas().items():
        command = schema.get("properties", {}).get("command", {})
        described |= dict.fromkeys([*command.get("enum", []), *_constant(command)], name)
    for leaf in read_program().leaves():
        if any("--format" in option.names and "json" in option.text for option in leaf.options):
            assert leaf.name in described, f"docs/schemas/ has none for fastprune {leaf.name}"
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
    for name in schemas():
        assert f"(schemas/{name}.schema.json)" in page


def _constant(command: dict[str, Any]) -> list[str]:
    return [command["const"]] if "const" in command else []


def altered(document: Any) -> Iterator[Any]:
    """The document with one more field, or with one less, at every place in turn."""
    for place in _objects(document, ()):
        for change in ("more", *_at(document, place)):
            other = copy.deepcopy(document)
            if change == "more":
                _at(other, place)["more"] = 0
            else:
                del _at(other, place)[change]
            yield other


def _objects(document: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if isinstance(document, dict):
        yield place
        for key, value in document.items():
            yield from _objects(value, (*place, key))
    elif isinstance(document, list):
        for index, value in enumerate(document[:1]):
            yield from _objects(value, (*place, index))


def _at(document: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        document = document[key]
    return document


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the tests only read."""
    return unpack("pulled", tmp_path_factory.mktemp("schemas"))


READING = {
    "list": ("list", "--format", "json", "--pattern", "typha"),
    "list of nothing": ("list", "--format", "json", "--pattern", "no-such-image"),
    "dry run": ("prune", "-n", "--format", "json", "--pattern", "typha|nginx:latest"),
    "summary": ("prune", "-n", "--format", "json", "--pattern", "typha", "--summary"),
    "rules": (
        *("prune", "-n", "--format", "json", "--pattern", ".", "--exclude", "cilium"),
        *("--keep-last", "1", "--free", "1kB"),
    ),
    "trash of a dry run": ("prune", "-n", "--format", "json", "--pattern", "typha", "--trash"),
    "list explained": ("explain", "--format", "json", "typha:v3.27.0"),
    "image explained": ("explain", "--format", "json", "edc34341", "--pattern", "typha"),
    "kept explained": ("explain", "--format", "json", "typha:v3.27.0", "--keep-last", "1"),
    "child explained": ("explain", "--format", "json", "edc34341", "--pattern", "cilium"),
    "too much": ("prune", "-n", "--format", "json", "--pattern", ".", "--max-delete-count", "3"),
    "empty trash": ("trash", "list", "--format", "json"),
    "usage": ("du", "--format", "json", "--top", "3"),
    "usage by layer": ("du", "--format", "json", "--by", "layer", "--pattern", "typha"),
    "verify": ("verify", "--format", "json", "--content", "--sample", "50%"),
    "tune": ("tune", "--format", "json", "--seconds", "1", "--files", "100"),
}
SCHEMAS = {"prune": "report", "apply": "report", "plan": "report"}


@pytest.mark.parametrize("arguments", READING.values(), ids=READING)
def test_what_a_command_prints_is_what_its_schema_says(
    arguments: tuple[str, ...], pulled: Path
) -> None:
    output = invoke(*arguments, cache=pulled)
    assert output.code == (4 if "--max-delete-count" in arguments else 0)
    name = SCHEMAS.get(arguments[0], "-".join(arguments[: 1 + (arguments[0] == "trash")]))
    assert errors(name, output.document) == []
    # And the schema would notice: but for what is optional, every field counts.
    unnoticed = [other for other in altered(output.document) if fits(name, other)]
    optional = schemas()[name]["properties"].keys() - schemas()[name]["required"]
    may_be_missing = len(optional & output.document.keys())
    # Only the rules that kept something are counted.
    may_be_missing += len(output.document.get("kept_by", {}))
    assert len(unnoticed) == may_be_missing


@pytest.mark.parametrize("cache", REAL_CACHES)
def test_every_line_of_a_listing_is_what_its_schema_says(cache: Any, tmp_path: Path) -> None:
    output = invoke("list", "--format", "jsonl", cache=unpack(cache, tmp_path))
    assert output.lines
    assert [error for line in output.lines for error in errors("list-line", line)] == []


def test_a_plan_its_file_and_what_apply_makes_of_it(tmp_path: Path) -> None:
    root, file = unpack("pulled", tmp_path), tmp_path / "plan"
    options = ("--pattern", "typha|nginx:latest", "--format", "json")
    output = invoke("plan", *options, "-o", file, cache=root)
    assert errors("report", output.document) == []
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert {line["record"] for line in lines} == {"plan", "manifest", "blob", "end"}
    assert [error for line in lines for error in errors("plan-line", line)] == []
    for line in lines:
        assert not any(fits("plan-line", other) for other in altered(line) if "more" in other)
    # What was pulled since stays.
    manifest = root / next(line["path"] for line in lines if line["record"] == "manifest")
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace('"pulled":"2026', '"pulled":"2027'), encoding="utf-8")
    output = invoke("apply", file, "--format", "json", cache=root)
    assert output.code == 3
    assert output.document["left_out"]
    assert errors("report", output.document) == []


def test_a_run_into_the_trash_and_back_and_its_audit_log(tmp_path: Path) -> None:
    root, log = unpack("pulled", tmp_path), tmp_path / "audit"
    options = ("--pattern", "typha", "--format", "json", "--trash", "--audit-log", log)
    pruned = invoke("prune", *options, cache=root)
    assert errors("report", pruned.document) == []
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert {line["event"] for line in lines} == {"start", "file", "end"}
    assert [error for line in lines for error in errors("audit-line", line)] == []
    listed = invoke("trash", "list", "--format", "json", cache=root)
    assert listed.document["runs"]
    assert errors("trash-list", listed.document) == []
    run = pruned.document["trash_run"]
    for arguments in (("restore", run), ("empty",)):
        for more in (("-n",), ()):
            output = invoke("trash", *arguments, *more, "--format", "json", cache=root)
            assert output.code == 0
            assert errors("trash-change", output.document) == []


def test_a_partial_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, unlink = unpack("loaded", tmp_path), os.unlink

    def failing(name: str, **options: Any) -> None:
        if name.startswith(("0", "1", "2", "3", "4", "5", "6")):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", failing)
    options = ("--pattern", ".", "--format", "json", "--allow-remove-all")
    output = invoke("prune", *options, cache=root)
    assert output.code == 3
    assert output.document["failed"]
    assert errors("report", output.document) == []


def test_all_that_verify_can_find(tmp_path: Path) -> None:
    root = unpack("pulled", tmp_path)
    for damage in ("missing", "short", "altered"):
        blob = max((root / "blobs").iterdir(), key=lambda path: path.stat().st_size)
        content = blob.read_bytes()
        blob.unlink()
        if damage != "missing":
            blob.write_bytes(content[:7] if damage == "short" else content.swapcase()[:-1] + b"?")
    (root / "blobs" / ("0" * 64)).write_bytes(b"an orphan")
    (root / "lts" / "README").write_text("?", encoding="utf-8")
    options = ("verify", "--content", "--format", "json")
    for corrupt in (False, True):
        if corrupt:
            CacheBuilder(root).corrupt(Corruption.NOT_JSON)
        output = invoke(*options, cache=root)
        assert output.code == 3
        assert errors("verify", output.document) == []
        assert (output.document["dangling"] is None) == corrupt
        for finding in ("broken", "missing_blobs", "resized", "altered", "orphans", "foreign"):
            assert output.document[finding], finding
    log = tmp_path / "audit"
    for more in ((), ("--dry-run",), ("--summary", "--dry-run"), ("--audit-log", log)):
        output = invoke("verify", "--format", "json", "--repair", *more, cache=root)
        assert errors("verify", output.document) == []
        assert output.document["repair"]["dry_run"] == ("--dry-run" in more)
        CacheBuilder(root).corrupt(Corruption.NOT_JSON)
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert {line.get("kind") for line in lines} >= {"unreadable"}
    assert [error for line in lines for error in errors("audit-line", line)] == []


def refuse_locked(root: Path) -> Output:
    from fastprune.guard.lock import cache_lock

    with cache_lock(str(root), 0):
        return invoke("prune", "--pattern", "a", "--format", "json", cache=root)


def refuse_corrupt(root: Path) -> Output:
    CacheBuilder(root).corrupt(Corruption.NOT_JSON)
    return invoke("prune", "--pattern", "a", "--format", "json", cache=root)


def refuse_plan(root: Path) -> Output:
    CacheBuilder(root).corrupt(Corruption.NOT_JSON)
    options = ("--pattern", "a", "--format", "json", "-o", str(root / "plan"))
    return invoke("plan", *options, cache=root)


def refuse_limits(root: Path) -> Output:
    options = ("--pattern", ".", "--max-delete-size", "1kB", "--max-delete-percent", "5")
    return invoke("prune", "--format", "json", *options, cache=root)


REFUSALS: dict[str, tuple[Callable[[Path], Output], int]] = {
    "unreadable manifests": (refuse_corrupt, 4),
    "unreadable manifests, of plan": (refuse_plan, 4),
    "delete limits": (refuse_limits, 4),
    "locked": (refuse_locked, 11),
    "no cache": (lambda root: invoke("list", "--format", "json", cache=root / "no"), 10),
    "usage": (lambda root: invoke("prune", "--format", "json", cache=root), 2),
    "no plan": (lambda root: invoke("apply", "/no", "--format", "json", cache=root), 2),
    "no image": (lambda root: invoke("explain", "no", "--format", "json", cache=root), 1),
    "no trash": (lambda root: invoke("trash", "list", "--format", "json", cache=root / "no"), 10),
    "no run": (lambda root: invoke("trash", "restore", "x", "--format", "json", cache=root), 2),
    "nothing to measure": (lambda root: invoke("tune", "--format", "json", cache=root / "no"), 10),
    "a bad configuration": (
        lambda root: invoke("list", "--format", "json", "--config-file", "/no", cache=root),
        2,
    ),
    "a bad option": (
        lambda root: invoke("list", "--format", "json", "--sort", "no", cache=root),
        2,
    ),
}


@pytest.mark.parametrize(("refuse", "code"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_one_document(
    refuse: Callable[[Path], Output], code: int, tmp_path: Path
) -> None:
    output = refuse(unpack("loaded", tmp_path))
    assert output.code == output.document["exit_code"] == code
    assert errors("refusal", output.document) == []
    assert output.document["error"] in output.err
    assert bool(output.document["corrupt"] or output.document["exceeded"]) == (code == 4)


def test_messages(tmp_path: Path) -> None:
    root = unpack("loaded", tmp_path)
    (root / "img" / "README").write_text("?", encoding="utf-8")
    CacheBuilder(root).corrupt(Corruption.NOT_JSON)
    options = ("--log-format", "json", "--progress", "--log-level", "debug")
    output = invoke("prune", "--pattern", "a", *options, cache=root)
    messages = [json.loads(line) for line in output.err.splitlines()]
    assert {message["level"] for message in messages} >= {"info", "error"}
    assert [error for message in messages for error in errors("message", message)] == []
