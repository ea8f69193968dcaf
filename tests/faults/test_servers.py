"""A server runs on the cache: commands that change the cache refuse, commands that read warn."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.program import run
from tests.faults.injection import tool
from tests.faults.scenes import PATTERN, Scene
from tests.support.cachebuilder import CacheBuilder, files, snapshot

pytestmark = pytest.mark.alone

PRUNE = ("prune", "--pattern", PATTERN)
# Only `serve` and the path count: the name of the program varies.
_SERVER = "print(flush=True); import time; time.sleep(120)"


@contextmanager
def serving(
    *arguments: str | Path, cwd: Path | None = None, prefix: Sequence[str] = ()
) -> Iterator[int]:
    """Starts a process with the arguments of a server; returns its id."""
    command = [*prefix, sys.executable, "-c", _SERVER, *map(str, arguments)]
    with running(command, cwd) as pid:
        yield pid


@contextmanager
def running(command: Sequence[str], cwd: Path | None = None) -> Iterator[int]:
    """Starts a process and waits until it is ready; returns its id."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=cwd) as process:
        assert process.stdout is not None
        assert process.stdout.readline(), f"{command} did not start"
        try:
            yield process.pid
        finally:
            process.kill()


def refused(scene: Scene, pid: int, *args: str | Path) -> None:
    before = snapshot(scene.root)
    result = run(*args, cache=scene.root)
    assert (result.code, result.out) == (11, "")
    assert f"a server seems to run on {scene.root}: process {pid}: " in result.err
    assert "--force" in result.err
    assert snapshot(scene.root) == before


def test_every_way_to_remove_something_is_refused(scene: Scene, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    assert run("plan", "--pattern", PATTERN, "-o", plan, cache=scene.root).code == 0
    with serving("serve", "--image-path", scene.root) as pid:
        for args in (
            PRUNE,
            (*PRUNE, "--trash"),
            ("prune", "--orphans-only"),
            ("apply", plan),
            ("verify", "--repair"),
        ):
            refused(scene, pid, *args)
    assert run(*PRUNE, cache=scene.root).code == 0


def test_force_goes_on(scene: Scene) -> None:
    with serving("serve", "--image-path", scene.root):
        assert run(*PRUNE, "--force", cache=scene.root).code == 0
    assert files(scene.root) == scene.outcome.left


@pytest.mark.parametrize(
    "args",
    [
        ("list",),
        ("du",),
        ("verify",),
        ("verify", "--repair", "--dry-run"),
        ("explain", "a:1"),
        ("plan", "--pattern", PATTERN, "-o", "{plan}"),
        (*PRUNE, "--dry-run"),
        ("apply", "{plan}", "--dry-run"),
    ],
    ids=" ".join,
)
def test_what_only_reads_warns(args: tuple[str, ...], scene: Scene, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    if args[0] == "apply":
        assert run("plan", "--pattern", PATTERN, "-o", saved, cache=scene.root).code == 0
    before = snapshot(scene.root)
    with serving("serve", "--image-path", scene.root) as pid:
        filled = [one.format(plan=saved) for one in args]
        result = run(*filled, cache=scene.root)
    assert result.code == 0
    assert f"warning: a server seems to run on this cache: process {pid}: " in result.err
    assert snapshot(scene.root) == before


def test_a_path_relative_to_where_the_server_works(scene: Scene) -> None:
    with serving("serve", "--image-path=./cache", cwd=scene.root.parent) as pid:
        refused(scene, pid, *PRUNE)
    with serving("serve", "--image-path=./cache", cwd=scene.root):
        assert run(*PRUNE, cache=scene.root).code == 0


def test_a_path_in_the_configuration_of_the_server(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("imagePath: cache\n", encoding="utf-8")
    with serving("serve", "--config-file", "config.yaml", cwd=tmp_path) as pid:
        refused(scene, pid, *PRUNE)


def test_a_server_behind_a_symbolic_link(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(scene.root)
    with serving("serve", "--image-path", tmp_path / "link") as pid:
        refused(scene, pid, *PRUNE)


def in_a_container(script: str) -> list[str]:
    """A prefix that starts a program with other mounts than ours; `"$@"` is the program."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return [tool("unshare", "util-linux"), *user, "--mount", "sh", "-ec", script, "sh"]


def test_a_server_in_a_container_that_has_the_cache_elsewhere(scene: Scene, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    script = f"mount --bind '{scene.root}' '{inside}'; exec \"$@\""
    with serving("serve", "--image-path", inside, prefix=in_a_container(script)) as pid:
        refused(scene, pid, *PRUNE)
        # Seen from here, that path is another cache.
        Scene(tmp_path / "other").fresh().rename(tmp_path / "other" / "cache2")
        assert run(*PRUNE, cache=tmp_path / "other" / "cache2").code == 0


def test_a_container_that_has_another_cache_at_this_path(scene: Scene, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    script = f"mount --bind '{other}' '{scene.root}'; exec \"$@\""
    with serving("serve", "--image-path", scene.root, prefix=in_a_container(script)):
        assert run(*PRUNE, cache=scene.root).code == 0


def test_an_absolute_link_in_a_container_leads_where_the_container_says(
    scene: Scene, tmp_path: Path
) -> None:
    """`/data -> /srv` means the container's /srv, not ours."""
    jail = tmp_path / "jail"
    (jail / "srv" / "cache").mkdir(parents=True)
    (jail / "data").symlink_to("/srv/cache")
    binds = "".join(
        f"mkdir -p '{jail}{path}'; mount --rbind '{path}' '{jail}{path}'; "
        for path in _SHELL
        if Path(path).is_dir() and not Path(path).is_symlink()
    )
    links = "".join(
        f"ln -sfn '{os.readlink(path)}' '{jail}{path}'; "
        for path in _SHELL
        if Path(path).is_symlink()
    )
    mounts = f"mount --bind '{scene.root}' '{jail}/srv/cache'; {binds}{links}"
    prefix = in_a_container(f"{mounts} exec chroot '{jail}' \"$@\"")
    with running([*prefix, *_STANDING_SHELL, "serve", "--image-path", "/data"]) as pid:
        refused(scene, pid, *PRUNE)


# The folders that a shell needs. Python may lie anywhere, so it can't be used here.
_SHELL = ("/usr", "/lib", "/lib64", "/bin")
_STANDING_SHELL = ("sh", "-c", "echo; read forever")


def test_a_server_of_another_user(scene: Scene) -> None:
    """The user of a process makes no difference if we may look at it. Root may."""
    prefix: list[str] = []
    if os.geteuid() == 0:
        user = ("--reuid=65534", "--regid=65534", "--clear-groups")
        prefix = [tool("setpriv", "util-linux"), *user]
    # That user need not be able to read Python: a shell can have these arguments as well.
    arguments = ("serve", "--image-path", str(scene.root))
    with running([*prefix, *_STANDING_SHELL, *arguments]) as pid:
        refused(scene, pid, *PRUNE)


def test_young_blobs_are_spared_for_a_pull_that_is_under_way(scene: Scene) -> None:
    """The manifest of that pull may not be there yet."""
    builder = CacheBuilder(scene.root)
    young = builder.blob(5000)
    long_ago = time.time() - 7200
    for path in scene.before.paths:
        os.utime(scene.root / path, (long_ago, long_ago))
    result = run(*PRUNE, "--grace", "1h", cache=scene.root)
    assert result.code == 0
    assert "Blobs spared as too young: 1\n" in result.out
    assert files(scene.root) == scene.outcome.left | {f"blobs/{young}"}
    assert run(*PRUNE, "--grace", "0s", cache=scene.root).code == 0
    assert files(scene.root) == scene.outcome.left
