"""What is known of file systems: on which remembered scans are used, and on which workers wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastprune.reading.file_systems import KNOWN, where_it_waits, why_not_trusted

TRUSTED = [kind for kind, known in KNOWN.items() if known.trusted]
ROOT = "25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"


class Mounts:
    """A folder like /proc, that says of each open file which mount it is in."""

    def __init__(self, path: Path, *lines: str, mount: int = 40) -> None:
        self.path = path
        (path / "self/fdinfo").mkdir(parents=True)
        (path / "self/mountinfo").write_text("\n".join((ROOT, *lines, "")), "utf-8")
        for descriptor in range(64):
            text = f"pos:\t0\nflags:\t02300000\nmnt_id:\t{mount}\nino:\t7\n"
            (path / f"self/fdinfo/{descriptor}").write_text(text, "utf-8")

    def why_not(self) -> str:
        return why_not_trusted(str(self.path), str(self.path))


def line(kind: str, *, mount: int = 40, at: str = "/c", optional: str = "", root: str = "/") -> str:
    return f"{mount} 25 0:44 {root} {at} rw,relatime {optional}- {kind} source rw,opt=x"


@pytest.mark.parametrize("kind", sorted(TRUSTED))
def test_file_systems_of_this_kernel_are_trusted(kind: str, tmp_path: Path) -> None:
    assert Mounts(tmp_path, line(kind)).why_not() == ""


@pytest.mark.parametrize(
    "kind",
    [
        *("nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "glusterfs", "afs", "lustre"),
        *("fuse", "fuseblk", "fuse.sshfs", "fuse.mergerfs", "fuse.fuse-overlayfs", "fuse.ext4"),
        *("vfat", "exfat", "msdos", "ntfs3", "hfsplus", "ecryptfs", "ocfs2", "gfs2", "ext", "Ext4"),
    ],
)
def test_all_others_are_not(kind: str, tmp_path: Path) -> None:
    reason = Mounts(tmp_path, line(kind)).why_not()
    assert reason == f"{tmp_path} is on {kind}, whose times can't be trusted to tell every change"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([line("btrfs", root="/@cache", optional="shared:7 master:2 ")], ""),
        ([line("overlay", at="/x\\040-\\040nfs")], ""),
        ([line("nfs4", at="/x\\040-\\040ext4", root="/a-ext4")], "is on nfs4"),
        ([line("ext4", mount=4), line("nfs", mount=40)], "is on nfs"),
        ([line("nfs", mount=4), line("xfs", mount=40), line("nfs", mount=400)], ""),
        ([line("ext4", mount=41)], "the system does not say which file system"),
        (["40 25 0:44 / /c rw,relatime"], "the system does not say which file system"),
    ],
    ids=["optional", "blanks", "dashes", "ids", "more ids", "no such mount", "no kind"],
)
def test_the_line_of_its_mount_counts(lines: list[str], reason: str, tmp_path: Path) -> None:
    found = Mounts(tmp_path, *lines).why_not()
    assert reason in found
    assert bool(found) == bool(reason)


@pytest.mark.parametrize("missing", ["self/fdinfo", "self/mountinfo", "self"])
def test_where_the_system_does_not_say_nothing_is_trusted(missing: str, tmp_path: Path) -> None:
    mounts = Mounts(tmp_path / "proc", line("ext4"))
    (mounts.path / missing).rename(tmp_path / "aside")
    assert "the system does not say" in why_not_trusted(str(tmp_path), str(mounts.path))


def test_a_descriptor_without_a_mount_is_not_trusted(tmp_path: Path) -> None:
    mounts = Mounts(tmp_path, line("ext4"))
    for file in (mounts.path / "self/fdinfo").iterdir():
        file.write_text("pos:\t0\n", "utf-8")
    assert "the system does not say" in mounts.why_not()


def test_a_folder_that_is_not_there_has_nothing_to_distrust(tmp_path: Path) -> None:
    assert why_not_trusted(str(tmp_path / "none"), str(tmp_path / "no proc")) == ""


def test_what_is_no_folder_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "can't be opened: Not a directory" in why_not_trusted(str(tmp_path / "file"))


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for proc in ("/proc", str(tmp_path)):
        why_not_trusted(str(tmp_path), proc)
    assert len(os.listdir("/proc/self/fd")) == before


def test_proc_is_on_a_file_system_that_is_not_trusted() -> None:
    assert why_not_trusted("/proc/self").startswith("/proc/self is on proc, ")


@pytest.mark.parametrize(
    "kind",
    [
        *("nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "glusterfs", "afs", "lustre"),
        *("gpfs", "beegfs", "ocfs2", "gfs2", "orangefs", "fuse", "fuse.sshfs", "fuse.s3fs"),
    ],
)
def test_network_and_cluster_file_systems_wait(kind: str, tmp_path: Path) -> None:
    mounts = Mounts(tmp_path, line(kind))
    assert where_it_waits([str(tmp_path)], str(tmp_path)) == kind
    assert mounts.why_not()


@pytest.mark.parametrize(
    "kind", [*sorted(TRUSTED), "fuseblk", "vfat", "exfat", "ntfs3", "squashfs", "proc", "nfsd", ""]
)
def test_local_and_unknown_file_systems_do_not(kind: str, tmp_path: Path) -> None:
    Mounts(tmp_path, line(kind))
    assert where_it_waits([str(tmp_path)], str(tmp_path)) == ""


def test_one_folder_of_several_is_enough(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    Mounts(tmp_path, line("nfs"))
    folders = [str(tmp_path / "none"), str(tmp_path / "file"), str(tmp_path)]
    assert where_it_waits(folders, str(tmp_path)) == "nfs"
    assert where_it_waits(folders[:2], str(tmp_path)) == ""


def test_who_waits_is_never_trusted() -> None:
    assert not [kind for kind, known in KNOWN.items() if known.waits and known.trusted]
