"""Real faults: an immutable file, a read-only mount, a full disk."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.program import finish, run, started, wait_until, without_privileges
from tests.faults.injection import FOREVER, Fault, run_with, tool
from tests.faults.scenes import PATTERN, Scene, prune_of
from tests.support.cachebuilder import TIME, CacheBuilder, files, snapshot
from tests.support.oracle import kept_images_lost_blobs, load

PRUNE = ("prune", "--pattern", PATTERN)


# An immutable file.


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Nobody can remove this file, root included (chattr(1))."""
    chattr = tool("chattr", "e2fsprogs")
    subprocess.run([chattr, "+i", path], check=True)
    try:
        yield
    finally:
        subprocess.run([chattr, "-i", path], check=True)


@pytest.mark.parametrize("kind", ["lists", "images", "blobs"])
def test_an_immutable_file_stays_with_all_it_needs(kind: str, scene: Scene) -> None:
    path = min(getattr(scene.outcome, kind))
    if os.geteuid() == 0:
        with immutable(scene.root / path):
            result = run(*PRUNE, cache=scene.root)
    else:
        # Without the right to make files immutable: the error that the system would give.
        calls = run_with(Fault(("unlink",)), *prune_of("delete"), cache=scene.fresh()).calls
        fault = Fault(("unlink",), first=calls.index(f"unlink {path}") + 1, error=errno.EPERM)
        result = run_with(fault, *prune_of("delete"), cache=scene.fresh()).result
    assert result.code == 3
    assert f"{path} can't be removed: {os.strerror(errno.EPERM)}" in result.err
    assert "Failed: 1\n" in result.out
    assert path in files(scene.root)
    assert scene.losses() == []
    scene.heal("delete")


# Mounts, in a namespace of their own, which ends with the program.


def mounted(script: str) -> list[str]:
    """A prefix that starts a program after mounts that no other process sees.

    Args:
        script: A shell script, in which `"$@"` is the program.
    """
    unshare = tool("unshare", "util-linux")
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return [unshare, *user, "--mount", "sh", "-ec", script, "sh"]


def test_on_a_read_only_mount_nothing_goes_and_each_file_is_said(scene: Scene) -> None:
    at = f"'{scene.root}'"
    script = f'mount --bind {at} {at}; mount -o remount,bind,ro {at}; exec "$@"'
    before = snapshot(scene.root)
    result = run(*PRUNE, cache=scene.root, prefix=mounted(script))
    assert result.code == 3
    assert os.strerror(errno.EROFS) in result.err
    assert "Manifests: 0 (0 lists, 0 images)\nBlobs: 0\n" in result.out
    assert "Traceback" not in result.err
    assert snapshot(scene.root) == before
    result = run(*PRUNE, "--trash", cache=scene.root, prefix=mounted(script))
    assert result.code == 1
    assert f"{os.strerror(errno.EROFS)}; nothing was moved" in result.err
    assert snapshot(scene.root) == before


def test_what_can_not_be_removed_is_named_up_to_a_point(tmp_path: Path) -> None:
    """A million lines help nobody. Programs find all of them in the JSON report."""
    builder = CacheBuilder(tmp_path / "cache")
    base = builder.blob(10)
    for number in range(50):
        builder.image(f"a:{number}", layers=[base])
    builder.image("kept:1")
    fault = Fault(("unlink",), first=1, last=FOREVER, error=errno.EROFS)
    result = run_with(fault, *PRUNE, "--format", "json", cache=builder.root).result
    assert result.code == 3
    assert result.err.count("can't be removed") == 20
    assert "--format json names all of them" in result.err
    assert len(json.loads(result.out)["failed"]) == 50


def on_a_full_disk(scene: Scene) -> list[str]:
    """A prefix that starts a program with the cache on a disk without a free byte or inode.

    Afterwards, the files that are left on that disk replace the cache.
    """
    disk = scene.root.parent / "disk"
    disk.mkdir()
    script = f"""
        cache='{scene.root}' disk='{disk}'
        mount -t tmpfs -o size=1m,nr_inodes=128 none "$disk"
        cp -a "$cache/." "$disk"
        mkdir "$disk/fill"
        n=0
        while touch "$disk/fill/$n" 2>/dev/null; do n=$((n + 1)); done
        cat /dev/zero > "$disk/fill/0" 2>/dev/null || true
        # There must be no room, not for a byte.
        if sh -c 'echo more > "$0"' "$disk/fill/1" 2>/dev/null; then exit 98; fi
        mount --bind "$disk" "$cache"
        code=0
        "$@" || code=$?
        umount "$cache"
        rm -rf "$disk/fill" "$cache"/img "$cache"/lts "$cache"/blobs
        cp -a "$disk/." "$cache"
        exit $code
    """
    return mounted(script)


def test_a_prune_works_with_nothing_free_on_the_disk(scene: Scene) -> None:
    result = run(*PRUNE, cache=scene.root, prefix=on_a_full_disk(scene))
    assert (result.code, result.err) == (0, "")
    assert files(scene.root) == scene.outcome.left
    assert scene.losses() == []


def test_nothing_is_written_to_the_cache_before_the_first_deletion(scene: Scene) -> None:
    """Not even a temporary file: there may be no space for it."""
    calls = run_with(Fault(), *prune_of("delete"), cache=scene.root).calls
    first = next(at for at, call in enumerate(calls) if call.startswith("unlink"))
    assert not [call for call in calls[:first] if call.startswith(("mkdir", "link", "rename"))]
    assert {call.partition(" ")[2] for call in calls} <= scene.before.paths | {
        *("", "img", "lts", "blobs")
    }


def test_a_trash_that_finds_no_room_moves_nothing(scene: Scene) -> None:
    result = run(*PRUNE, "--trash", cache=scene.root, prefix=on_a_full_disk(scene))
    assert (result.code, result.out) == (1, "")
    assert f"{os.strerror(errno.ENOSPC)}; nothing was moved" in result.err
    assert files(scene.root) == scene.before.paths


def test_an_audit_log_that_finds_no_room_refuses_the_prune(scene: Scene) -> None:
    log = scene.root / "audit.log"
    result = run(*PRUNE, "--audit-log", log, cache=scene.root, prefix=on_a_full_disk(scene))
    assert (result.code, result.out) == (2, "")
    assert f"{os.strerror(errno.ENOSPC)}; nothing was deleted" in result.err
    assert files(scene.root) == scene.before.paths


# Permissions.


@pytest.mark.parametrize("folder", [".", "img"])
def test_a_folder_that_may_not_be_read_is_said_and_nothing_goes(folder: str, scene: Scene) -> None:
    (scene.root / folder).chmod(0)
    try:
        result = run(*PRUNE, cache=scene.root, prefix=without_privileges())
    finally:
        (scene.root / folder).chmod(0o755)
    assert (result.code, result.out) == (1, "")
    assert f"{scene.root}" in result.err
    assert os.strerror(errno.EACCES) in result.err
    assert "Traceback" not in result.err
    assert files(scene.root) == scene.before.paths


# Somebody else is at work.

SLOW = ("--max-deletes-per-second", "100", "--concurrency", "1")


def test_what_others_change_and_remove_meanwhile_is_left_alone_and_said(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    base = builder.blob(10)
    names = sorted(builder.image(f"a:{number}", layers=[base]) for number in range(100))
    kept = builder.image("kept:1", layers=[base])
    before = load(builder.root)
    images = builder.root / "img"
    pulled, removed = images / names[-1], images / names[-2]
    with started(*PRUNE, *SLOW, cache=builder.root) as process:
        wait_until(lambda: not (images / names[0]).exists())
        content = pulled.read_bytes()
        pulled.write_bytes(content.replace(TIME.encode(), b"2025-01-01T00:00:00"))
        removed.unlink()
        result = finish(process)
    assert result.code == 3
    assert f"img/{pulled.name} changed since the scan and was left alone" in result.err
    assert "Already gone: 1\n" in result.out
    assert "Changed since the scan, left alone: 1\n" in result.out
    after = load(builder.root)
    assert set(after.manifests) == {f"img/{pulled.name}", f"img/{kept}"}
    assert kept_images_lost_blobs(before, after) == []


def test_a_manifest_that_appears_meanwhile_keeps_every_blob(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    base = builder.blob(10)
    kept = builder.image("kept:1")
    names = sorted(builder.image(f"a:{number}", layers=[base]) for number in range(100))
    blobs = {path for path in files(builder.root) if path.startswith("blobs/")}
    with started(*PRUNE, *SLOW, cache=builder.root) as process:
        wait_until(lambda: not (builder.root / "img" / names[0]).exists())
        new = builder.image("b:1", layers=[base])
        result = finish(process)
    assert result.code == 4
    assert f"img/{new} appeared during the prune" in result.err
    assert "Blobs: 0\n" in result.out
    new_blobs = {f"blobs/{digest}" for digest in load(builder.root).manifests[f"img/{new}"].blobs}
    assert files(builder.root) == blobs | new_blobs | {f"img/{new}", f"img/{kept}"}
    # When the server has ended, the same prune removes what is left over.
    before = load(builder.root)
    assert run(*PRUNE, cache=builder.root).code == 0
    after = load(builder.root)
    assert kept_images_lost_blobs(before, after) == []
    assert len(after.blobs) == 3


def test_a_manifest_that_appears_among_the_blobs_ends_it(tmp_path: Path) -> None:
    """A server starts when the manifests are already gone."""
    builder = CacheBuilder(tmp_path / "cache")
    builder.image("kept:1")
    for number in range(200):
        builder.blob(1000 + number)
    last = builder.blob(10)  # The largest go first.
    pace = ("--max-deletes-per-second", "100", "--concurrency", "4")
    before = files(builder.root)
    with started("prune", "--orphans-only", *pace, cache=builder.root) as process:
        wait_until(lambda: len(files(builder.root)) < len(before))
        new = builder.image("b:1", layers=[last])
        result = finish(process)
    assert result.code == 4
    assert f"img/{new} appeared during the prune" in result.err
    assert "no further blob was removed" in result.err
    left = files(builder.root)
    assert f"blobs/{last}" in left
    assert 100 < len(left & before) < len(before)


def test_a_folder_of_manifests_that_is_moved_away_meanwhile_keeps_every_blob(
    tmp_path: Path,
) -> None:
    builder = CacheBuilder(tmp_path / "cache")
    base = builder.blob(10)
    builder.image("kept:1", layers=[base])
    names = sorted(builder.image(f"a:{number}", layers=[base]) for number in range(100))
    blobs = {path for path in files(builder.root) if path.startswith("blobs/")}
    with started(*PRUNE, *SLOW, cache=builder.root) as process:
        wait_until(lambda: not (builder.root / "img" / names[0]).exists())
        (builder.root / "img").rename(builder.root / "aside")
        result = finish(process)
    assert result.code == 3
    assert "Stopped: the manifests can't be listed once more" in result.out
    assert files(builder.root) == blobs


def test_a_disk_that_can_not_be_read_any_more_is_said(scene: Scene) -> None:
    fault = Fault(first=1, last=FOREVER, error=errno.EIO)
    for command in (("list",), PRUNE, ("plan", "-o", "/dev/null", "--pattern", PATTERN)):
        result = run_with(fault, *command, cache=scene.root).result
        assert (result.code, result.out) == (1, "")
        assert os.strerror(errno.EIO) in result.err
        assert "Traceback" not in result.err
