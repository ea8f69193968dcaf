"""Readers that go away, and outputs that are closed.

Even if nobody reads the output, a prune that has begun runs to its end, and the user never
sees a traceback.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.program import finish, run, started, through_shell
from tests.support.cachebuilder import CacheBuilder, digest_of, files
from tests.support.oracle import Outcome, expected, load
from tests.support.realcaches import unpack

PRUNE = ("prune", "--pattern", "kube-")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return unpack("pulled", tmp_path)


@pytest.fixture
def outcome(cache: Path) -> Outcome:
    return expected(load(cache), patterns=["kube-"])


@pytest.fixture
def unread() -> Iterator[int]:
    """The writing end of a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def test_head_does_not_stop_a_prune(cache: Path, outcome: Outcome) -> None:
    result = through_shell('"$@" | head -1', *PRUNE, cache=cache)
    assert (result.out, result.err) == ("Prune manifests:\n", "")
    assert files(cache) == outcome.left


def test_head_on_a_listing_larger_than_a_pipe_is_no_error(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    config = builder.blob(10)
    for number in range(2_000):
        layer = digest_of(str(number))
        builder.image(f"registry.example/{'long-' * 10}:{number}", config=config, layers=[layer])
    script = '{ "$@"; echo "exit code $?" >&2; } | head -1'
    result = through_shell(script, "list", cache=builder.root)
    assert result.err == "exit code 0\n"
    assert result.out.count("\n") == 1


def test_a_prune_whose_reader_is_gone_is_complete(
    cache: Path, outcome: Outcome, unread: int
) -> None:
    with started(*PRUNE, cache=cache, stdout=unread) as process:
        result = finish(process)
    assert (result.code, result.err) == (0, "")
    assert files(cache) == outcome.left


def test_a_prune_whose_messages_nobody_reads_is_complete(
    cache: Path, outcome: Outcome, unread: int
) -> None:
    (cache / "img" / "README").write_bytes(b"something to warn about")
    with started(*PRUNE, "--progress", cache=cache, stderr=unread) as process:
        result = finish(process)
    assert files(cache) == outcome.left | {"img/README"}
    assert result.code == 0
    assert result.out.startswith("Prune manifests:\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_prune_with_closed_descriptors_is_complete(
    closed: str, cache: Path, outcome: Outcome
) -> None:
    result = through_shell(f'exec "$@" {closed}', *PRUNE, cache=cache)
    assert "Traceback" not in result.err
    assert files(cache) == outcome.left
    assert result.code == 0


def test_a_listing_with_a_closed_stdout_has_no_traceback(cache: Path) -> None:
    result = through_shell('exec "$@" >&-', "list", cache=cache)
    assert "Traceback" not in result.err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
def test_a_prune_that_can_not_write_its_report_is_complete_and_says_so(
    cache: Path, outcome: Outcome
) -> None:
    result = through_shell('exec "$@" >/dev/full', *PRUNE, cache=cache)
    assert files(cache) == outcome.left
    assert "Traceback" not in result.err
    assert "No space left on device" in result.err
    assert result.code == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
@pytest.mark.parametrize(
    "arguments",
    [("--version",), ("--help",), ("list", "--help"), ("list", "--sort", "x", "--format", "json")],
    ids=" ".join,
)
def test_what_a_full_disk_cuts_off_is_an_error_and_no_traceback(
    arguments: tuple[str, ...],
) -> None:
    result = through_shell('exec "$@" >/dev/full', *arguments)
    assert result.err.startswith("fastprune: error: the output can't be written: No space left")
    assert "Traceback" not in result.err
    assert result.code == (2 if "--sort" in arguments else 1)


def test_nothing_but_results_is_on_stdout(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("a:1", created="not a time", layers=["ab" * 32])
    builder.raw("img", "README", b"")
    options = ("--format", "url", "--log-level", "debug", "--progress")
    result = run("list", *options, cache=builder.root)
    assert result.out == "a:1\n"
    for told in ("README", "malformed", "scanning"):
        assert told in result.err
