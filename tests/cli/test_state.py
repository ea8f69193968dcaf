"""Remembered scans on the command line: where they lie, and that no output depends on them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tests.cli.golden import normalised
from tests.cli.program import run
from tests.support.cachebuilder import CacheBuilder, snapshot
from tests.support.inprocess import Output, invoke
from tests.support.realcaches import REAL_CACHES, RealCache, unpack
from tests.support.remembering import STATE_VARIABLE

from fastprune.cli import state_folder
from fastprune.reading import identities

MANIFESTS = 4
COMMANDS: dict[str, Sequence[str]] = {
    "list": ("list",),
    "list of some": ("list", "--pattern", "a|b", "--format", "json", "--sort", "-size"),
    "list of the broken": ("list", "--broken", "--format", "csv"),
    "list of the dangling": ("list", "--dangling", "--keep-last", "1"),
    "du": ("du", "--by", "image", "--format", "json"),
    "du by layer": ("du", "--by", "layer", "--pattern", "a", "--format", "csv"),
    "plan": ("plan", "--pattern", "a", "--allow-remove-all", "-o", "-"),
    "prune": ("prune", "--pattern", "a", "--allow-remove-all", "--dry-run", "--format", "json"),
    "prune of orphans": ("prune", "--orphans-only", "--dry-run"),
    "prune to a size": ("prune", "--max-size", "5kB", "--allow-remove-all", "--dry-run"),
    "prune and keep": ("prune", "--keep-last", "1", "--exclude", "b", "--dry-run"),
}
"""Command lines that only read, without the option of the folder for state."""


@pytest.fixture(autouse=True)
def _nothing_is_racy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were written just now are believed; no test here writes one of the same size."""
    monkeypatch.setattr(identities, "RACY_NANOSECONDS", -(10**12))


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test says where scans are remembered."""
    monkeypatch.setenv(STATE_VARIABLE, "")


@pytest.fixture
def cache(builder: CacheBuilder) -> Path:
    layer = builder.blob(1_000)
    child = builder.image("r/a@sha256:1", layers=[layer, builder.blob(30)])
    builder.index("r/a:2", children=[child, "c" * 64])
    builder.image("r/a:1", layers=[layer], pulled="2024-01-01T00:00:00")
    builder.image("r/b:latest", layers=[builder.blob(77), "d" * 64])
    builder.blob(5_000)
    return builder.root


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def known(output: Output) -> tuple[int, int]:
    """How many manifests a scan read and how many it remembered, by its message."""
    (found,) = re.findall(r"manifests?: (\d+) read, (\d+) remembered$", output.err, re.MULTILINE)
    return int(found[0]), int(found[1])


def debugged(cache: Path, *words: str | Path) -> Output:
    return invoke("--log-level", "debug", *words, cache=cache)


def is_remembered(cache: Path, *words: str | Path) -> bool:
    """Whether of two runs the second one reads nothing."""
    assert known(debugged(cache, "list", *words)) == (MANIFESTS, 0)
    return known(debugged(cache, "list", *words)) == (0, MANIFESTS)


def scans(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def as_user(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Takes the variable away, and makes the program think that a user without it runs it."""
    monkeypatch.delenv(STATE_VARIABLE)
    # A file of root is believed by everybody, so it does not matter who runs the tests.
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() or 1000)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


# Where


def test_a_user_has_it_in_the_cache_folder_that_the_environment_names(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_user(monkeypatch, HOME=str(tmp_path / "home"), XDG_CACHE_HOME=str(tmp_path / "xdg"))
    assert is_remembered(cache)
    (file,) = scans(tmp_path / "xdg" / "fastprune")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("variables", [{}, {"XDG_CACHE_HOME": "relative"}, {"XDG_CACHE_HOME": ""}])
def test_else_in_dot_cache_of_the_home_folder(
    variables: dict[str, str], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_user(monkeypatch, HOME=str(tmp_path / "home"), **variables)
    assert is_remembered(cache)
    assert len(scans(tmp_path / "home" / ".cache" / "fastprune")) == 1


def test_without_a_home_folder_nothing_is_remembered(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    as_user(monkeypatch, HOME="nowhere")
    output = debugged(cache, "list")
    assert (output.code, "remembered" in output.err) == (0, False)
    assert not (tmp_path / "nowhere").exists()


def test_root_has_it_in_var_cache(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state_folder.ROOTS_FOLDER == "/var/cache/fastprune"
    monkeypatch.setattr(state_folder, "ROOTS_FOLDER", str(tmp_path / "var" / "fastprune"))
    as_user(monkeypatch, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "xdg"))
    uid = os.getuid()
    # Only the choice of the place asks: what is written belongs to who runs the tests.
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    if uid != 0:
        pytest.skip("files of another user are not believed")
    assert is_remembered(cache)
    assert len(scans(tmp_path / "var" / "fastprune")) == 1
    assert not (tmp_path / "xdg").exists()


def test_the_variable_names_it(cache: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(state))
    assert is_remembered(cache)
    assert len(scans(state)) == 1


def test_the_option_beats_the_variable(
    cache: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "other"))
    assert is_remembered(cache, "--state-dir", state)
    assert len(scans(state)) == 1
    assert not (tmp_path / "other").exists()


def test_an_empty_option_keeps_nothing_and_uses_nothing(
    cache: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(state))
    assert is_remembered(cache)
    (file,) = scans(state)
    output = debugged(cache, "list", "--state-dir", "")
    assert (output.code, "remembered" in output.err) == (0, False)
    file.unlink()
    debugged(cache, "list", "--state-dir", "")
    assert scans(state) == []


def test_an_empty_variable_keeps_nothing_and_uses_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_user(monkeypatch, HOME=str(tmp_path / "home"))
    monkeypatch.setenv(STATE_VARIABLE, "")
    output = debugged(cache, "list")
    assert (output.code, "remembered" in output.err) == (0, False)
    assert not (tmp_path / "home").exists()


def test_each_cache_has_a_file_of_its_own(cache: Path, state: Path, tmp_path: Path) -> None:
    other = CacheBuilder(tmp_path / "other")
    other.image("r/x:1")
    assert is_remembered(cache, "--state-dir", state)
    assert known(debugged(other.root, "list", "--state-dir", state)) == (1, 0)
    assert known(debugged(cache, "list", "--state-dir", state)) == (0, MANIFESTS)
    assert len(scans(state)) == 2


# In the cache


def reading_and_removing(plan: Path) -> dict[str, Sequence[str | Path]]:
    return {
        "list": ("list",),
        "du": ("du",),
        "explain": ("explain", "r/a:1"),
        "plan": ("plan", "--pattern", "r/a", "-o", "-"),
        "dry prune": ("prune", "--pattern", "r/a", "--dry-run"),
        "prune": ("prune", "--pattern", "r/a", "--yes"),
        "dry apply": ("apply", plan, "--dry-run"),
        "apply": ("apply", plan, "--yes"),
    }


@pytest.fixture
def plan(cache: Path, tmp_path: Path) -> Path:
    path = tmp_path / "prune.plan"
    assert invoke("plan", "--pattern", "r/a", "-o", path, cache=cache).code == 0
    return path


@pytest.mark.parametrize("name", reading_and_removing(Path()))
@pytest.mark.parametrize("place", ["", "state", "blobs/state", "../cache/state"])
def test_a_folder_in_the_cache_is_a_usage_error(
    place: str, name: str, cache: Path, plan: Path
) -> None:
    words = reading_and_removing(plan)[name]
    before = snapshot(cache)
    output = invoke(*words, "--state-dir", cache / place, cache=cache)
    assert output.code == 2
    assert "is in the cache: choose another folder" in output.err
    assert snapshot(cache) == before


@pytest.mark.parametrize("name", reading_and_removing(Path()))
def test_the_usual_folder_is_not_used_if_it_would_be_in_the_cache(
    name: str, cache: Path, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_user(monkeypatch, XDG_CACHE_HOME=str(cache), HOME=str(cache))
    output = debugged(cache, *reading_and_removing(plan)[name])
    assert output.code == 0
    assert f"the scan is not remembered: {cache}/fastprune is in the cache" in output.err
    assert not (cache / "fastprune").exists()


@pytest.mark.parametrize("named_by", ["--state-dir", f"${STATE_VARIABLE}"])
def test_a_relative_folder_in_a_deleted_one_is_a_usage_error(
    named_by: str, cache: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$0" && rmdir "$0" && exec "$@"'
    inside = ["sh", "-c", script, str(gone)]
    if named_by.startswith("-"):
        result = run("list", named_by, "x", cache=cache, prefix=inside)
    else:
        result = run("list", cache=cache, prefix=inside, env={STATE_VARIABLE: "x"})
    assert result.code == 2, result.err
    assert f"{named_by} x: a relative path" in result.err


# What changed


@pytest.mark.parametrize("name", reading_and_removing(Path()))
def test_each_command_that_scans_uses_it(name: str, cache: Path, plan: Path, state: Path) -> None:
    debugged(cache, "list", "--state-dir", state)
    output = debugged(cache, *reading_and_removing(plan)[name], "--state-dir", state)
    assert output.code == 0
    assert known(output) == (0, MANIFESTS)


def test_after_a_prune_what_stays_is_remembered(cache: Path, state: Path) -> None:
    debugged(cache, "list", "--state-dir", state)
    pruned = debugged(cache, "prune", "--pattern", "a:1", "--yes", "--state-dir", state)
    assert (pruned.code, known(pruned)) == (0, (0, MANIFESTS))
    after = debugged(cache, "list", "--state-dir", state)
    assert known(after) == (0, MANIFESTS - 1)
    assert after.out == invoke("list", cache=cache).out
    assert "r/a:1" not in after.out


def test_a_manifest_that_changed_is_read(cache: Path, builder: CacheBuilder, state: Path) -> None:
    digest = builder.image("r/c:1")
    debugged(cache, "list", "--state-dir", state)
    before = debugged(cache, "list", "--state-dir", state)
    builder.tag(digest, "r/c:1", pulled="2025-02-02T22:22:22.2+02:00")
    after = debugged(cache, "list", "--state-dir", state)
    assert (known(before), known(after)) == ((0, MANIFESTS + 1), (1, MANIFESTS))
    assert after.out == invoke("list", cache=cache).out
    assert ("2025-02-02" in before.out, "2025-02-02" in after.out) == (False, True)


def test_rescan_reads_everything_and_remembers_it_anew(cache: Path, state: Path) -> None:
    assert is_remembered(cache, "--state-dir", state)
    (file,) = scans(state)
    file.write_bytes(b"damaged")
    again = debugged(cache, "list", "--rescan", "--state-dir", state)
    assert known(again) == (MANIFESTS, 0)
    assert "damaged" not in again.err
    assert known(debugged(cache, "list", "--state-dir", state)) == (0, MANIFESTS)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: b"",
    ],
)
def test_a_damaged_file_is_said_once_and_everything_is_read(
    damage: Callable[[bytes], bytes], cache: Path, state: Path
) -> None:
    sound = debugged(cache, "list", "--state-dir", state)
    (file,) = scans(state)
    file.write_bytes(damage(file.read_bytes()))
    output = invoke("list", "--state-dir", state, cache=cache)
    assert output.err == (
        f"fastprune: warning: {file} is not used, and everything is read: it is damaged\n"
    )
    assert (output.code, output.out) == (0, sound.out)
    assert known(debugged(cache, "list", "--state-dir", state)) == (0, MANIFESTS)


# What can't be written


def obstructed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folders that nothing can be written to, one after the other."""
    (folder / "file").write_text("")
    yield folder / "file" / "state"
    (folder / "link").symlink_to("link")
    yield folder / "link"
    yield Path("/proc/fastprune")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fastprune.scanning.store.write_whole", full)
    yield folder / "full"


def test_a_folder_that_cant_be_written_is_a_message_for_debugging_and_no_more(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = invoke("list", cache=cache)
    for state in obstructed(tmp_path, monkeypatch):
        assert invoke("list", "--state-dir", state, cache=cache) == expected
        loud = debugged(cache, "list", "--state-dir", state)
        assert (loud.code, loud.out) == (0, expected.out)
        assert re.search(rf"debug: {state}/\S+ can't be written: \w", loud.err), loud.err


def test_a_file_system_that_says_nothing_of_itself_is_a_message_for_debugging_and_no_more(
    cache: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = invoke("list", cache=cache)

    def refused(path: str) -> os.statvfs_result:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), path)

    monkeypatch.setattr(os, "statvfs", refused)
    assert invoke("list", "--state-dir", state, cache=cache) == expected
    loud = debugged(cache, "list", "--state-dir", state)
    assert f"the scan is not remembered: {cache}: Function not implemented" in loud.err


def test_a_folder_that_others_may_write_is_not_believed(cache: Path, state: Path) -> None:
    assert is_remembered(cache, "--state-dir", state)
    state.chmod(0o770)
    output = debugged(cache, "list", "--state-dir", state)
    assert known(output) == (MANIFESTS, 0)
    assert "everything is read: others may write its folder" in output.err


# The same output


def cleaned(output: Output, cache: Path) -> tuple[int, str, str]:
    """The output without what differs in every run."""
    text = normalised(output.out, cache)
    text = re.sub(r'"scanned_at":\s*"[^"]*"', '"scanned_at":"<time>"', text)
    text = re.sub(
        r'^(\{"record":"end","sha256":)"[0-9a-f]{64}"', r"\1<checksum>", text, flags=re.MULTILINE
    )
    return output.code, text, normalised(output.err, cache)


def check_same(cache: Path, state: Path, words: Sequence[str | Path], code: int = 0) -> None:
    """Whether a command says the same without a memory, with an empty one, and with a full one."""
    plain = invoke(*words, cache=cache)
    assert plain.code == code, plain.err
    first = invoke(*words, "--state-dir", state, cache=cache)
    second = invoke(*words, "--state-dir", state, cache=cache)
    read, _ = known(debugged(cache, *words, "--state-dir", state))
    assert cleaned(first, cache) == cleaned(plain, cache)
    assert cleaned(second, cache) == cleaned(plain, cache)
    assert read == 0


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("real", REAL_CACHES)
def test_the_output_on_a_real_cache_is_the_same(
    real: RealCache, name: str, tmp_path: Path, state: Path
) -> None:
    check_same(unpack(real, tmp_path), state, COMMANDS[name])


@pytest.mark.parametrize("name", [*COMMANDS, "explain"])
def test_the_output_on_a_generated_cache_is_the_same(name: str, cache: Path, state: Path) -> None:
    explain = ("explain", "r/a:2", "--pattern", "a", "--format", "json")
    check_same(cache, state, COMMANDS.get(name, explain))


@pytest.mark.parametrize("reference", ["typha", "curl"])
def test_explain_on_a_real_cache_is_the_same(reference: str, tmp_path: Path, state: Path) -> None:
    cache = unpack("pulled", tmp_path)
    url = next(
        line["url"]
        for line in invoke("list", "--format", "jsonl", cache=cache).lines
        if reference in line["url"] and "@" not in line["url"]
    )
    check_same(cache, state, ("explain", url, "--pattern", "a", "--format", "json"))


def test_a_broken_manifest_is_read_and_refused_each_time(
    cache: Path, builder: CacheBuilder, state: Path
) -> None:
    builder.raw("img", "e" * 64, b"{")
    words = ("prune", "--pattern", "a", "--dry-run", "--state-dir", state)
    plain = invoke(*words[:-2], cache=cache)
    assert plain.code == 4
    assert [invoke(*words, cache=cache) for _ in range(2)] == [plain, plain]
    assert known(debugged(cache, "list", "--state-dir", state)) == (1, MANIFESTS)


# Commands that always read


@pytest.mark.parametrize("words", [("trash", "list"), ("tune",)])
def test_what_does_not_use_it_has_no_such_option(words: Sequence[str], cache: Path) -> None:
    for option in (("--state-dir", "x"), ("--rescan",)):
        result = run(*words, *option, cache=cache)
        assert result.code == 2
        assert option[0] in result.err


def test_verify_reads_everything_and_leaves_nothing(
    cache: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(state))
    output = debugged(cache, "verify")
    assert "remembered" not in output.err
    assert not state.exists()
