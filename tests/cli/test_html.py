"""`--html FILE`: the page of `du`, `plan` and `prune --dry-run`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.cli.program import run
from tests.support.cachebuilder import files, snapshot
from tests.support.realcaches import unpack

SELECTION = ("--pattern", "typha:v3.27.0")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return unpack("pulled", tmp_path)


def report_in(page: Path) -> Any:
    text = page.read_text("utf-8")
    found = re.search(
        r'<script type="application/json" id="report">(.*?)</script>', text, re.DOTALL
    )
    assert found
    return json.loads(found[1])


@pytest.mark.parametrize(
    ("command", "goes"),
    [
        (("du",), False),
        (("plan", *SELECTION, "-o", "plan.json"), True),
        (("prune", *SELECTION, "--dry-run"), True),
    ],
    ids=["du", "plan", "prune"],
)
def test_every_command_writes_its_page_and_changes_nothing_else(
    command: tuple[str, ...], goes: bool, cache: Path, tmp_path: Path
) -> None:
    before = snapshot(cache)
    with_page = run(*command, "--html", "page.html", cache=cache, cwd=tmp_path)
    assert (with_page.code, with_page.err) == (0, "")
    assert snapshot(cache) == before
    report = report_in(tmp_path / "page.html")
    assert report["command"] == command[0]
    assert report["tree"]["b"] == report["totals"]["bytes"] > 0
    if goes:
        said = re.search(r"Bytes would be freed: (\d+)", with_page.out)
        assert said
        assert report["goes"]["bytes"] == report["tree"]["g"] == int(said[1])
    else:
        assert report["goes"] is None
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o644


def test_a_saved_plan_has_a_page_too(cache: Path, tmp_path: Path) -> None:
    assert run("plan", *SELECTION, "-o", "a.plan", cache=cache, cwd=tmp_path).code == 0
    options = ("a.plan", "--dry-run", "--html", "page.html")
    result = run("apply", *options, cache=cache, cwd=tmp_path)
    assert (result.code, result.err) == (0, "")
    report = report_in(tmp_path / "page.html")
    assert report["command"] == "apply"
    assert f"Bytes would be freed: {report['goes']['bytes']} " in result.out


def test_a_real_prune_writes_no_page(cache: Path, tmp_path: Path) -> None:
    before = files(cache)
    result = run("prune", *SELECTION, "--yes", "--html", "page.html", cache=cache, cwd=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert "--dry-run" in result.err
    assert files(cache) == before
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("pulled/blobs/page.html", "is in the cache's folder blobs/"),
        ("pulled/img/../img/page.html", "is in the cache's folder img/"),
        ("nowhere/page.html", "there is no folder"),
        ("pulled", "is no regular file"),
    ],
)
def test_where_no_page_can_be_is_a_usage_error(
    target: str, said: str, cache: Path, tmp_path: Path
) -> None:
    before = snapshot(cache)
    result = run("du", "--html", target, cache=cache, cwd=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert "--html" in result.err
    assert said in result.err
    assert snapshot(cache) == before
