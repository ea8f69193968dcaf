"""Paths that are not UTF-8, or that would move the cursor: of a cache and of files in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.cli.inside import run_inside
from tests.support import schemas
from tests.support.cachebuilder import CacheBuilder

NAME = os.fsdecode(b"ca\xff\x1b[2J")
SHOWN = r"ca\xff" + "\x1b[2J"

COMMANDS = {
    "list": ("list",),
    "du": ("du",),
    "explain": ("explain", "a:1"),
    "report": ("prune", "--pattern", "a", "--dry-run"),
    "verify": ("verify",),
    "trash-list": ("trash", "list"),
    "refusal": ("prune", "--older-than", "soon"),
}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    builder = CacheBuilder(tmp_path / NAME)
    builder.image("a:1", config=builder.blob(10))
    builder.image("b:1", config=builder.blob(10))
    builder.raw("blobs", os.fsdecode(b"fore\xffign"), b"")
    return builder.root


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_whole_and_names_the_cache(name: str, cache: Path) -> None:
    result = run_inside(*COMMANDS[name], "--format", "json", cache=cache)
    document = json.loads(result.out)
    assert schemas.errors(name, document) == []
    assert document["image_path"] == str(cache.parent / SHOWN)
    assert "\x1b" not in result.out


def test_verify_names_what_does_not_belong_there(cache: Path) -> None:
    result = run_inside("verify", "--format", "json", cache=cache)
    assert json.loads(result.out)["foreign"] == [r"blobs/fore\xffign"]


def test_a_prune_with_an_audit_log_and_a_plan_are_carried_out(cache: Path, tmp_path: Path) -> None:
    log, plan = tmp_path / "audit.jsonl", tmp_path / "saved.plan"
    assert run_inside("plan", "--pattern", "a", "-o", plan, cache=cache).code == 0
    assert run_inside("apply", plan, "--audit-log", log, cache=cache).code == 0
    begin = json.loads(log.read_text().splitlines()[0])
    assert begin["image_path"] == str(cache.parent / SHOWN)
    assert len(list((cache / "img").iterdir())) == 1
