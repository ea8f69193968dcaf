"""Which of the servers on a cache is the one that `--server` names; all others refuse."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.cachebuilder import CacheBuilder
from tests.support.fakeproc import FakeProc

from fastprune import ServerRunningError
from fastprune.guard import listening, servers
from fastprune.guard.exclusive import Exclusion, hold
from fastprune.guard.named_server import NamedServer, other_servers
from fastprune.guard.server_findings import ServerFinding
from fastprune.layouts.default import DEFAULT_LAYOUT

NAMED = NamedServer("http", "127.0.0.1", 9000)
LISTENS = """
import socket, sys, time
listener = socket.create_server((sys.argv[1], 0))
print(listener.getsockname()[1], flush=True)
time.sleep(60)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "cache"
    CacheBuilder(root)
    return root


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


@contextmanager
def server_process(
    root: Path, address: str = "127.0.0.1", command: str = "serve"
) -> Iterator[tuple[int, int]]:
    """Starts a process that seems to serve a cache; returns its id and its port."""
    options = [address, command, "--image-path", str(root)]
    with subprocess.Popen(
        [sys.executable, "-c", LISTENS, *options], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            yield process.pid, port
        finally:
            process.kill()


def serving(proc: FakeProc, pid: str, root: Path, network: int = 1) -> None:
    proc.add(pid, "ociregistry", "serve", "--image-path", str(root), network=network)


def left(proc: FakeProc, root: Path, named: NamedServer = NAMED) -> dict[int | None, str]:
    """What refuses, and why it is not the server that is named."""
    found = servers.find_servers(str(root), proc.path)
    return {one.pid: one.misfit for one in other_servers(found, named, proc.path)}


# Real processes.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_process_that_listens_at_the_port_is_the_server_that_is_named(
    host: str, root: Path
) -> None:
    with server_process(root) as (pid, port):
        named = NamedServer("http", host, port)
        assert servers.servers_in_the_way(str(root), named) == ()
        with hold(str(root), DEFAULT_LAYOUT, Exclusion(named=named)) as held:
            assert held.overridden == ()
            assert held.look is not None
            assert held.look() == ()
            with server_process(root) as (other, _):
                assert [one.pid for one in held.look()] == [other]
        assert [one.pid for one in servers.servers_in_the_way(str(root))] == [pid]


def test_a_process_that_listens_elsewhere_refuses_and_the_message_says_where(root: Path) -> None:
    with server_process(root) as (pid, port), socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
        exclusion = Exclusion(named=NamedServer("http", "127.0.0.1", free))
        with pytest.raises(ServerRunningError) as refusal:
            with hold(str(root), DEFAULT_LAYOUT, exclusion):
                pass
    said = f"process {pid} serves this cache and does not listen at port {free}, but at {port}: "
    assert said in str(refusal.value)
    assert "--server" in refusal.value.hint
    assert refusal.value.exit_code == 11


def test_a_second_server_refuses_although_the_first_one_is_named(root: Path) -> None:
    with server_process(root) as (_, port), server_process(root) as (other, other_port):
        named = NamedServer("http", "127.0.0.1", port)
        (found,) = servers.servers_in_the_way(str(root), named)
    assert found.pid == other
    assert found.misfit == f"does not listen at port {port}, but at {other_port}"


def test_a_load_is_never_the_server_that_is_named(root: Path) -> None:
    with server_process(root, command="load") as (pid, port):
        named = NamedServer("http", "127.0.0.1", port)
        (found,) = servers.servers_in_the_way(str(root), named)
    assert (found.pid, found.misfit) == (pid, "")


def test_another_loopback_address_is_another_server(root: Path) -> None:
    with server_process(root, "127.0.0.2") as (_, port):
        (found,) = servers.servers_in_the_way(str(root), NamedServer("http", "127.0.0.1", port))
        assert found.misfit == f"listens at port {port} of 127.0.0.2, not of 127.0.0.1"
        assert servers.servers_in_the_way(str(root), NamedServer("http", "127.0.0.2", port)) == ()


def test_without_a_name_every_server_refuses_as_before(root: Path) -> None:
    with server_process(root) as (pid, _):
        with pytest.raises(ServerRunningError, match=f"process {pid}: ") as refusal:
            with hold(str(root), DEFAULT_LAYOUT, Exclusion()):
                pass
    assert refusal.value.hint.startswith("stop the server first")


# A fake /proc.


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "127.0.0.1", "::ffff:127.0.0.1"])
def test_where_a_server_may_listen(address: str, root: Path, proc: FakeProc) -> None:
    serving(proc, "7", root)
    proc.listen("7", address, 9000)
    assert left(proc, root) == {}


def test_a_socket_that_does_not_listen_or_of_another_process_does_not_count(
    root: Path, proc: FakeProc
) -> None:
    serving(proc, "7", root)
    proc.add("8", "nginx")
    proc.listen("7", "127.0.0.1", 9000, state="01")
    proc.listen("8", "127.0.0.1", 9000)
    assert left(proc, root) == {7: "does not listen at port 9000"}


def test_another_machine_is_not_this_process(
    root: Path, proc: FakeProc, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the block for documentation: no machine has it.
    named = NamedServer("http", "192.0.2.1", 9000)
    serving(proc, "7", root)
    proc.listen("7", "0.0.0.0", 9000)
    said = {7: "listens at port 9000, but 192.0.2.1 is not this machine"}
    assert left(proc, root, named) == said

    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert listening.addresses_here("nowhere.invalid") == frozenset()


def test_a_process_with_a_network_of_its_own_can_t_be_told_by_its_port(
    root: Path, proc: FakeProc
) -> None:
    serving(proc, "7", root, network=2)
    assert left(proc, root) == {}
    # A second one, about which nothing more is known: neither is sure.
    serving(proc, "8", root, network=3)
    assert left(proc, root) == {7: f"may be {NAMED} or not", 8: f"may be {NAMED} or not"}
    # If one surely is, the others are not.
    serving(proc, "9", root)
    proc.listen("9", "127.0.0.1", 9000)
    other = f"is not {NAMED}, which is process 9"
    assert left(proc, root) == {7: other, 8: other}


@pytest.mark.parametrize("hidden", ["fd", "ns"])
def test_a_process_of_another_user_can_t_be_told_by_its_port(
    hidden: str, root: Path, proc: FakeProc, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving(proc, "7", root)
    proc.listen("7", "127.0.0.1", 1)
    assert left(proc, root)
    for name in ("listdir", "readlink"):
        real = getattr(os, name)

        def refuse(path: str, real: object = real) -> object:
            if f"/7/{hidden}" in str(path):
                raise PermissionError(13, "Permission denied")
            assert callable(real)
            return real(path)

        monkeypatch.setattr(os, name, refuse)
    assert left(proc, root) == {}


def test_a_list_of_sockets_that_can_t_be_understood_says_nothing(
    root: Path, proc: FakeProc
) -> None:
    serving(proc, "7", root)
    proc.listen("7", "127.0.0.1", 1)
    (Path(proc.path) / "self" / "net" / "tcp").write_text("header\nsomething else\n")
    assert left(proc, root) == {}


def test_what_has_started_the_server_is_not_a_second_one(root: Path, proc: FakeProc) -> None:
    """`tini -- ociregistry serve …` has the same words in its command line."""
    command = ("ociregistry", "serve", "--image-path", str(root))
    proc.add("6", "timeout", "1h", "tini", "--", *command)
    proc.add("7", "tini", "--", *command, parent=6)
    proc.add("8", *command, parent=7)
    proc.listen("8", "127.0.0.1", 9000)
    assert left(proc, root) == {}
    elsewhere = "does not listen at port 9001, but at 9000"
    refused = left(proc, root, NamedServer("http", "127.0.0.1", 9001))
    assert refused == {6: "", 7: "", 8: elsewhere}
    # Not the parent, or with other arguments: a second server.
    proc.add("9", "ociregistry", "serve", "--port", "1", "--image-path", str(root))
    assert list(left(proc, root)) == [9]


def test_two_processes_that_listen_at_the_port_are_not_told_apart(
    root: Path, proc: FakeProc
) -> None:
    for pid in ("7", "8"):
        serving(proc, pid, root)
        proc.listen(pid, "0.0.0.0", 9000)
    assert left(proc, root) == {7: f"may be {NAMED} or not", 8: f"may be {NAMED} or not"}


def test_unsure_findings_refuse_as_before(root: Path, tmp_path: Path) -> None:
    proc = FakeProc(tmp_path / "proc", "rw,hidepid=invisible")
    serving(proc, "7", root)
    proc.listen("7", "127.0.0.1", 9000)
    proc.add("8", "ociregistry", "serve", "--config-file", "/nowhere/config.yaml")
    proc.listen("8", "127.0.0.1", 9000)
    assert left(proc, root) == {None: "", 8: ""}


def test_what_is_hidden_needs_force_and_the_hint_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = ServerFinding(None, "", "processes of other users are hidden")
    monkeypatch.setattr(servers, "find_servers", lambda root: (hidden,))
    with pytest.raises(ServerRunningError) as refusal:
        with hold(str(root), DEFAULT_LAYOUT, Exclusion(named=NAMED)):
            pass
    assert "no server but http://127.0.0.1:9000" in refusal.value.hint
    with hold(str(root), DEFAULT_LAYOUT, Exclusion(named=NAMED, force=True)) as held:
        assert held.overridden == (hidden,)


@pytest.mark.parametrize(
    ("content", "prunes"),
    [
        ("pruneConfig:\n  enabled: true\n  type: created\n  duration: 30d\n", True),
        ("pruneConfig:\n  enabled: true\n  dryrun: true\n", False),
        # The server does not know this spelling.
        ("pruneConfig:\n  enabled: true\n  dryRun: true\n", True),
        ("pruneConfig:\n  enabled: false\n", False),
        ("pruneConfig:\n  enabled: 'true'\n", False),
        ("pruneconfig:\n  enabled: true\n", False),
        ("pruneConfig: true\n", False),
        ("port: 8080\n", False),
        ("pruneConfig: [\n", False),
        (None, False),
    ],
)
def test_a_server_that_prunes_by_itself(
    content: str | None, prunes: bool, root: Path, proc: FakeProc, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    if content is not None:
        config.write_text(content)
    options = ["--config-file", str(config)]
    proc.add("7", "ociregistry", "serve", "--image-path", str(root), *options)
    proc.add("8", "ociregistry", "serve", "--image-path", str(tmp_path), *options)
    proc.add("9", "ociregistry", "load", "--image-path", str(root), *options)
    found = servers.pruning_servers(str(root), proc.path)
    assert found == (((7, str(config)),) if prunes else ())


def test_a_name_in_words() -> None:
    assert str(NamedServer("https", "::1", 443)) == "https://[::1]:443"
