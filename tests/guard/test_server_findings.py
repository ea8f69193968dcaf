"""Which processes count as servers on a cache, and which may be servers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.cachebuilder import CacheBuilder
from tests.support.fakeproc import FakeProc

from fastprune.guard import process_table, servers
from fastprune.guard.server_findings import ServerFinding
from fastprune.guard.server_program import parsed
from fastprune.guard.servers import find_servers

# Whether it is sure that a process serves the cache.
HERE, CANT_TELL = True, False
GO = b"\x7fELF" + bytes(100) + b"\xff Go buildinf:\x08\x02" + bytes(100)
OURS = GO + b"path\tcommand-line-arguments\nmod\tgithub.com/aceeric/ociregistry\t(devel)\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "cache"
    CacheBuilder(root)
    CacheBuilder(tmp_path / "other")
    return root


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, Path]:
    """Executables, by what they are."""
    contents = {
        "ours": OURS,
        "across": bytes((1 << 20) - 9) + OURS,
        "go": GO + b"mod\tzotregistry.dev/zot\n",
        "packed": b"\x7fELF UPX! " + bytes(50),
        "plain": b"\x7fELF an interpreter",
    }
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


@pytest.fixture
def default_is_here(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache lies at the default path of a server."""
    monkeypatch.setattr(servers, "_DEFAULT", servers._Place(str(root), given=False))


@pytest.fixture
def not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes belong to other users, and we are not root."""
    monkeypatch.setattr(process_table._LinuxProcess, "_may_look", lambda _: False)


def only(proc: FakeProc, root: Path) -> ServerFinding | None:
    found = find_servers(str(root), proc.path)
    assert len(found) <= 1
    return found[0] if found else None


def doubt(proc: FakeProc, root: Path) -> str:
    """What could not be known about the only process that was found."""
    finding = only(proc, root)
    assert finding is not None
    assert finding.is_sure is CANT_TELL
    return finding.unknown


# Real processes.


@contextmanager
def other_process(*arguments: str, cwd: Path) -> Iterator[int]:
    """Starts a process and waits until it is ready; returns its id."""
    program = "print(flush=True)\nimport time; time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, cwd=cwd
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--image-path", "{root}"],
        ["--image-path={root}", "serve"],
        ["serve", "-image-path", "{root}/../cache"],
        ["serve", "--image-path", "cache"],
        ["serve", "--image-path", "./cache/"],
        ["serve", "--config-file", "config.yaml"],
        ["--config-file={parent}/config.yaml", "serve"],
        ["serve", "--image-path", "/elsewhere", "--image-path", "{root}"],
        ["load", "--image-file", "images", "--image-path", "{root}"],
        ["--config-file", "config.yaml", "load"],
    ],
)
def test_a_server_on_this_cache_is_found(arguments: list[str], root: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"IMAGEPATH: {root}\nport: 8080\n")
    filled = [one.format(root=root, parent=tmp_path) for one in arguments]
    with other_process(*filled, cwd=tmp_path) as pid:
        (server,) = [one for one in find_servers(str(root)) if one.pid == pid]
    assert server.is_sure is HERE
    assert server.command.endswith(" ".join(filled))


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--image-path", "{parent}/other"],
        ["serve", "--image-path", "{parent}/nowhere"],
        ["serve", "--image-path="],
        ["serve"],
        ["load"],
        ["list", "--image-path", "{root}"],
        ["prune", "--image-path", "{root}", "--pattern", "load"],
        ["served", "--image-path", "{root}"],
        ["serve", "--config-file", "config.yaml"],
    ],
)
def test_other_processes_are_no_servers_on_this_cache(
    arguments: list[str], root: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("imagePath: other\n")
    filled = [one.format(root=root, parent=tmp_path) for one in arguments]
    with other_process(*filled, cwd=tmp_path) as pid:
        assert pid not in {one.pid for one in find_servers(str(root))}


def test_an_empty_path_is_the_working_directory(root: Path) -> None:
    with other_process("serve", "--image-path=", cwd=root) as pid:
        assert pid in {one.pid for one in find_servers(str(root))}


# Configuration files.


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"port: 8080\t# a tab\nimagePath: [\n", "not valid YAML"),
        (b"imagePath: !path /data\n", "can't be understood"),
        (b"a: !b c\n", "; correct it, or start the server with --image-path"),
        (b"- not\n- a mapping\n", "not a mapping"),
        (b"imagePath: x\nimagePath: y\n", "is there already"),
        (b"imagePath: x\nsince: 2024-13-45\n", "can't be understood"),
        (b"\xff\xfe", "can't be understood"),
        (b"#" * (4 << 20) + b"\n", "too large"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_can_t_be_understood_is_not_the_default_path(
    content: bytes | None, said: str, root: Path, proc: FakeProc, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    if content is not None:
        config.write_bytes(content)
    proc.add("7", "ociregistry", "serve", "--config-file", str(config))
    unknown = doubt(proc, root)
    assert unknown.startswith(f"its cache can't be told: its configuration file {config} ")
    assert said in unknown


def test_a_file_that_is_no_regular_file_is_never_opened(
    root: Path, proc: FakeProc, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    proc.add("7", "ociregistry", "serve", "--config-file", str(tmp_path / "pipe"))
    assert "is no regular file" in doubt(proc, root)


def test_a_descriptor_of_the_server_is_not_one_of_ours(root: Path, proc: FakeProc) -> None:
    """With `--config-file <(…)`, the path is /dev/fd/63, which leads to /proc/self."""
    proc.add("7", "ociregistry", "serve", "--config-file", "/dev/fd/0")
    assert "can't be read: No such file" in doubt(proc, root)


@pytest.mark.parametrize("content", ["port: 1\n", "", "imagePath:\n", "imagePath: ''\n"])
def test_a_file_without_a_path_means_the_default_one(
    content: str, root: Path, proc: FakeProc, tmp_path: Path, default_is_here: None
) -> None:
    (tmp_path / "config.yaml").write_text(content)
    proc.add("7", "ociregistry", "serve", "--config-file", "config.yaml", cwd=tmp_path)
    finding = only(proc, root)
    assert finding is not None
    assert finding.is_sure is HERE


def test_a_key_in_another_case_is_one_of_two_places(
    root: Path, proc: FakeProc, tmp_path: Path, default_is_here: None
) -> None:
    (tmp_path / "config.yaml").write_text("imagepath: /elsewhere\n")
    proc.add("7", "ociregistry", "serve", "--config-file", "config.yaml", cwd=tmp_path)
    assert only(proc, root) is not None


def test_a_file_that_was_changed_after_the_start_says_nothing(
    root: Path, proc: FakeProc, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(f"imagePath: {tmp_path}/other\n")
    command = ("ociregistry", "serve", "--config-file", "config.yaml")
    proc.add("7", *command, cwd=tmp_path, started=time.time() - 3600)
    assert "may have changed since it started" in doubt(proc, root)
    shutil.rmtree(Path(proc.path, "7"))
    proc.add("7", *command, cwd=tmp_path)
    assert only(proc, root) is None


# Which program it is.


@pytest.mark.parametrize(
    ("arguments", "exe", "is_sure"),
    [
        (["ociregistry", "serve"], None, HERE),
        (["/opt/ociregistry-server", "serve"], "plain", HERE),
        (["./OCIRegistry.bin", "load"], "packed", HERE),
        (["/usr/bin/python3", "/usr/bin/ociregistry", "serve"], "plain", HERE),
        (["server", "serve"], "ours", HERE),
        (["server", "serve", "--port", "1"], "across", HERE),
        (["cache", "serve"], "ours", HERE),
        (["/usr/bin/qemu-aarch64", "{ours}", "serve"], "plain", HERE),
        (["server", "serve"], "go", None),
        (["registry", "serve"], "go", None),
        (["registry", "serve", "/etc/distribution/config.yml"], "go", None),
        (["zot", "serve", "/etc/zot/config.json"], "go", None),
        (["ollama", "serve"], "go", None),
        (["docker", "load"], "go", None),
        (["thing", "serve", "--config-file", "missing.yaml"], "go", None),
        (["node", "app.js", "serve"], "plain", None),
        (["server", "serve"], "packed", CANT_TELL),
        (["python3", "app.py", "serve", "--air-gapped"], "plain", CANT_TELL),
        (["python3", "app.py", "serve", "--config-file", "missing.yaml"], "plain", CANT_TELL),
        # Programs of other users.
        (["server", "serve"], None, CANT_TELL),
        (["ollama", "serve"], None, CANT_TELL),
        (["{go}", "serve"], None, None),
        (["{plain}", "serve"], None, None),
        (["{ours}", "serve"], None, CANT_TELL),
        (["zot", "serve", "/etc/zot/config.json"], None, None),
        (["vault", "serve", "--dev"], None, None),
        (["thing", "serve", "--config-file", "missing.yaml"], None, CANT_TELL),
        # It serves this cache, whatever program it is.
        (["{go}", "serve", "--image-path", "{root}"], "go", HERE),
    ],
    ids=str,
)
def test_which_program_it_is(
    arguments: list[str],
    exe: str | None,
    is_sure: bool | None,
    root: Path,
    proc: FakeProc,
    programs: dict[str, Path],
    default_is_here: None,
) -> None:
    paths = {name: str(path) for name, path in programs.items()} | {"root": str(root)}
    proc.add("7", *(one.format(**paths) for one in arguments), exe=programs[exe] if exe else None)
    finding = only(proc, root)
    assert (finding and finding.is_sure) is is_sure


def test_a_word_that_is_a_fifo_or_a_device_is_not_opened(
    root: Path, proc: FakeProc, programs: dict[str, Path], tmp_path: Path, default_is_here: None
) -> None:
    os.mkfifo(tmp_path / "pipe")
    proc.add("7", "sh", str(tmp_path / "pipe"), "serve", exe=programs["plain"])
    assert only(proc, root) is None


def test_what_another_root_has_at_the_default_path_is_not_this_cache(
    root: Path, proc: FakeProc, tmp_path: Path, default_is_here: None
) -> None:
    (tmp_path / "jail").mkdir()
    proc.add("7", "ociregistry", "serve", root=tmp_path / "jail")
    assert only(proc, root) is None


def test_a_command_line_is_read_as_the_server_reads_it() -> None:
    line = parsed(["x", "--log-file", "serve", "-image-path=a", "list", "--pattern", "load"])
    assert (line.command, line.writes) == ("list", False)
    assert line.options == {"log-file": "serve", "image-path": "a"}
    line = parsed(["x", "serve", "--air-gapped", "--port", "1", "--image-path", "a"])
    assert (line.writes, line.distinct, line.strange) == (True, True, False)
    assert not parsed([]).writes
    assert not parsed(["serve"]).writes
    assert parsed(["x", "serve", "--image-path"]).options == {"image-path": ""}


# Processes of other users.


def test_a_relative_path_of_another_user_can_t_be_told(
    root: Path, proc: FakeProc, tmp_path: Path, not_ours: None
) -> None:
    proc.add("7", "ociregistry", "serve", "--image-path", "cache", cwd=tmp_path)
    assert "belongs to another user" in doubt(proc, root)


def test_a_configuration_file_of_another_user_is_read_if_that_can_be(
    root: Path, proc: FakeProc, tmp_path: Path, not_ours: None
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"imagePath: {root}\n")
    proc.add("7", "ociregistry", "serve", "--config-file", str(config))
    finding = only(proc, root)
    assert finding is not None
    assert finding.is_sure is HERE
    config.write_text("imagePath: cache\n")
    assert "belongs to another user" in doubt(proc, root)
    config.write_text(f"imagePath: {tmp_path}/other\n")
    assert only(proc, root) is None


@pytest.mark.parametrize("option", ["--image-path", "--config-file"])
def test_other_mounts_of_another_user_can_t_be_looked_at(
    option: str, root: Path, proc: FakeProc, not_ours: None
) -> None:
    proc.add("7", "ociregistry", "serve", option, "/data", mounts="of a container\n")
    assert "has other mounts" in doubt(proc, root)


def test_a_path_that_we_may_not_look_at(
    root: Path, proc: FakeProc, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os.path, "samefile", refuse)
    proc.add("7", "ociregistry", "serve", "--image-path", "/data")
    assert "/data can't be looked at: Permission denied" in doubt(proc, root)


def test_links_that_lead_round_in_a_circle(root: Path, proc: FakeProc, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    proc.add("7", "ociregistry", "serve", "--image-path", str(tmp_path / "a"))
    assert "lead nowhere" in doubt(proc, root)


def test_a_process_that_has_just_ended_is_none(
    root: Path, proc: FakeProc, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc.add("7", "ociregistry", "serve", "--config-file", "/nowhere/config.yaml")
    monkeypatch.setattr(process_table._LinuxProcess, "is_there", lambda _: False)
    assert only(proc, root) is None


def test_our_own_workers_are_no_servers(root: Path, proc: FakeProc) -> None:
    proc.add("7", "fastprune", "prune")
    assert find_servers(str(root), proc.path) == ()


# What is hidden.


@pytest.mark.parametrize("hides", ["1", "2", "noaccess", "invisible", "ptraceable"])
def test_hidden_processes_of_other_users_can_t_be_told(
    hides: str, root: Path, tmp_path: Path
) -> None:
    proc = FakeProc(tmp_path / "proc", f"rw,hidepid={hides}")
    finding = only(proc, root)
    assert finding == ServerFinding(
        None,
        "",
        f"{proc.path} is mounted with hidepid={hides}: processes of other users are hidden",
    )


@pytest.mark.parametrize("hides", ["invisible", "ptraceable"])
def test_whoever_may_trace_all_sees_all(hides: str, root: Path, tmp_path: Path) -> None:
    proc = FakeProc(tmp_path / "proc", f"rw,hidepid={hides}", "CapEff:\t0000000000080000")
    assert only(proc, root) is None


def test_the_group_that_nothing_is_hidden_from(root: Path, tmp_path: Path) -> None:
    group = os.getegid()
    assert only(FakeProc(tmp_path / "a", f"rw,gid={group},hidepid=invisible"), root) is None
    assert only(FakeProc(tmp_path / "b", f"rw,gid={group + 1},hidepid=invisible"), root)
    assert only(FakeProc(tmp_path / "c", f"rw,gid={group},hidepid=ptraceable"), root)


@pytest.mark.parametrize("hides", ["hidepid=off", "hidepid=0", "subset=pid"])
def test_what_hides_nothing(hides: str, root: Path, tmp_path: Path) -> None:
    assert only(FakeProc(tmp_path / "proc", f"rw,{hides}"), root) is None


def test_no_proc_at_all_and_an_empty_one(root: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "empty", tmp_path / "missing"):
        (finding,) = find_servers(str(root), str(path))
        assert "not mounted, or empty" in finding.unknown
        (tmp_path / "empty").mkdir(exist_ok=True)


def test_a_proc_without_process_1_shows_a_part(root: Path, proc: FakeProc) -> None:
    shutil.rmtree(Path(proc.path, "1"))
    assert "process 1 is not there" in doubt(proc, root)


def test_a_command_line_that_can_t_be_read(
    root: Path, proc: FakeProc, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc.add("7", "anything")
    monkeypatch.setattr(os, "access", lambda path, _: "/7/" not in path)
    assert doubt(proc, root) == "the command line of process 7 can't be read"


def test_the_real_proc_shows_all_or_says_why_not() -> None:
    assert process_table.what_is_hidden() == ""


def test_text_from_outside_is_made_safe() -> None:
    finding = ServerFinding(7, "a\x1b[31m serve " + "x" * 1000, "b\x1b")
    assert "\x1b" not in finding.text
    assert len(finding.text) < 600
