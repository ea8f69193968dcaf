"""`verify --content --content-since` on the command line: what it says, and how it can be ended."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.program import Result, environment, run
from tests.support.cachebuilder import CacheBuilder, digest_of
from tests.support.clock import wait_for_the_clock
from tests.support.inprocess import Output, invoke
from tests.support.remembering import STATE_VARIABLE

from fastprune.cli import state_folder
from fastprune.reading import identities

BLOBS = 12

pytestmark = pytest.mark.usefixtures("read_again_at_once")


@pytest.fixture(autouse=True)
def _nothing_is_racy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "RACY_NANOSECONDS", -(10**12))


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def cache(builder: CacheBuilder) -> Path:
    layers = [builder.blob(100 * size) for size in range(1, BLOBS)]
    builder.image("a:1", layers=layers)
    wait_for_the_clock(builder.root)
    return builder.root


def verify(*options: str, cache: Path) -> Output:
    return invoke("verify", "--content", *options, cache=cache)


def content_of(output: Output | Result) -> Any:
    return json.loads(output.out)["content"]


def test_text_and_json_say_what_was_not_read_again(cache: Path) -> None:
    size = sum(path.stat().st_size for path in (cache / "blobs").iterdir())
    first = content_of(verify("--format", "json", cache=cache))
    assert (first["blobs"], first["bytes"]) == (BLOBS, size)
    assert (first["known_blobs"], first["known_bytes"], first["since"]) == (0, 0, None)
    again = content_of(verify("--content-since", "last", "--format", "json", cache=cache))
    assert (again["blobs"], again["bytes"]) == (0, 0)
    assert (again["known_blobs"], again["known_bytes"]) == (BLOBS, size)
    output = verify("--content-since", "last", cache=cache)
    (line,) = [line for line in output.out.splitlines() if line.startswith("Not read again")]
    assert "Content read" not in output.out
    assert re.fullmatch(
        rf"Not read again: {BLOBS} blobs, 6\.\d kB, verified since {again['since']} and unchanged",
        line,
    )
    assert (output.code, output.err) == (0, "")


def test_what_is_missing_or_short_is_found_though_the_rest_is_not_read(cache: Path) -> None:
    verify(cache=cache)
    first, second, *_ = sorted((cache / "blobs").iterdir())
    first.unlink()
    os.truncate(second, 7)
    output = verify("--content-since", "last", "--format", "json", cache=cache)
    assert output.code == 3
    totals = output.document["totals"]
    assert (totals["missing_blobs"], totals["resized"], totals["altered"]) == (1, 1, 0)
    assert (content_of(output)["blobs"], content_of(output)["known_blobs"]) == (1, BLOBS - 2)
    repaired = verify(
        *("--content-since", "last", "--repair", "--force", "--yes", "--format", "json"),
        cache=cache,
    )
    assert repaired.code == 0
    assert repaired.document["repair"]["totals"]["blobs"] == 1


def test_a_date_is_on_the_clock_of_this_machine(cache: Path) -> None:
    verify(cache=cache)
    whole = verify("--content-since", "2020-01-01", "--format", "json", cache=cache)
    assert content_of(whole)["known_blobs"] == BLOBS
    assert content_of(whole)["since"] == "2020-01-01T00:00:00Z"
    told = verify("--content-since", "2020-01-01T12:30:00", "--format", "json", cache=cache)
    assert content_of(told)["since"] == "2020-01-01T12:30:00Z"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--content-since", "yesterday"], "--content-since: not a date and time: 'yesterday'"),
        (["--content-since", "2999-01-01"], "is in the future"),
        (["--content-since", "last", "--rescan"], "--rescan reads every blob"),
        (["--content-since", "last", "--state-dir", ""], "name one with --state-dir"),
    ],
)
def test_usage_errors(options: list[str], message: str, cache: Path, state: Path) -> None:
    output = verify(*options, cache=cache)
    assert (output.code, output.out) == (2, "")
    assert message in output.err
    without = invoke("verify", *options[:2], cache=cache)
    assert without.code == 2
    assert not state.exists()


def test_it_means_nothing_without_content(cache: Path) -> None:
    output = invoke("verify", "--content-since", "last", cache=cache)
    assert output.code == 2
    assert "--content-since has an effect only with --content: give both" in output.err


def test_a_folder_for_state_in_the_cache_is_refused(cache: Path) -> None:
    output = verify("--state-dir", str(cache / "blobs" / "state"), cache=cache)
    assert output.code == 2
    assert "is in the cache: choose another folder" in output.err


def test_a_mere_check_writes_nothing_for_blobs(cache: Path, state: Path) -> None:
    assert invoke("verify", cache=cache).code == 0
    assert not state.exists()
    verify("--rescan", cache=cache)
    assert [path.suffix for path in state.iterdir()] == [".verified"]


def test_nothing_is_said_of_a_first_run_unless_it_was_to_go_on(cache: Path) -> None:
    assert verify(cache=cache).err == ""
    (kept,) = Path(os.environ[STATE_VARIABLE]).iterdir()
    kept.unlink()
    output = verify("--content-since", "last", cache=cache)
    assert output.code == 0
    assert output.err.count("every blob is read: no run is remembered in") == 1


def test_without_a_home_it_says_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STATE_VARIABLE)
    monkeypatch.setattr(state_folder, "_usual_folder", lambda path: "")
    assert verify(cache=cache).code == 0
    output = verify("--content-since", "last", cache=cache)
    assert output.code == 2
    assert "name one with --state-dir" in output.err


# With the threads of numpy's linear algebra, workers would not be forked: then they would not know
# what is patched here.
PROGRAM = """
import os, signal, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"
from fastprune.cli.main import main
from fastprune.reading import identities
from fastprune.scanning import blob_memory
from fastprune.verification import blob_reading

identities.RACY_NANOSECONDS = -(10**12)
blob_reading.FILES_IN_PIECE = 1
blob_memory._KEEP_SECONDS, blob_memory._SHARE_OF_WRITING = 0, 0
real, after, number = blob_memory.BlobMemory.note, int(sys.argv[1]), int(sys.argv[2])
noted = []

def note(self, *given):
    real(self, *given)
    noted.append(given)
    if len(noted) == after:
        os.kill(os.getpid(), number)

blob_memory.BlobMemory.note = note
del sys.argv[1:3]
main()
"""


def interrupted(after: int, number: int, *options: str, cache: Path) -> Result:
    """Verifies, and gets a signal after so many blobs."""
    arguments = ("verify", "--content", "--format", "json", *options, "--image-path", str(cache))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(after), str(number), *arguments],
        env=environment({STATE_VARIABLE: os.environ[STATE_VARIABLE]}),
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("number", "code", "jobs"),
    [
        (signal.SIGINT, 130, "1"),
        (signal.SIGTERM, 143, "2"),
        (signal.SIGHUP, 129, "1"),
        (signal.SIGKILL, -signal.SIGKILL, "2"),
    ],
)
def test_signals_lose_nothing_and_three_of_them_add_up(
    number: signal.Signals, code: int, jobs: str, cache: Path
) -> None:
    again = ("--jobs", jobs, "--content-since", "last")
    first = interrupted(3, number, "--jobs", jobs, cache=cache)
    assert (first.code, first.out) == (code, "")
    for _ in range(2):
        assert interrupted(3, number, *again, cache=cache).code == code
    rest = interrupted(BLOBS + 1, number, *again, cache=cache)
    assert (rest.code, rest.err) == (0, "")
    content = content_of(rest)
    assert (content["blobs"], content["known_blobs"]) == (BLOBS - 9, 9)


def test_the_program_finds_new_damage_among_what_is_known(cache: Path) -> None:
    """The real rule about racy files: what was written just now is read again."""
    first = run("verify", "--content", "--format", "json", cache=cache)
    assert first.code == 0
    path = min((cache / "blobs").iterdir())
    path.write_bytes(b"?" * path.stat().st_size)
    again = run("verify", "--content", "--content-since", "last", "--format", "json", cache=cache)
    assert again.code == 3
    found = json.loads(again.out)
    assert [one["digest"] for one in found["altered"]] == [f"sha256:{path.name}"]
    assert digest_of(path.read_bytes()) != path.name
