"""--keep-from: lists of images in use, from files, pipes and stdin."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastprune import UsageError
from fastprune.policy.criteria_io import Inputs, read_references


def test_lists_are_separated_by_anything_blank_and_have_comments(tmp_path: Path) -> None:
    file = tmp_path / "images"
    file.write_text("# in use\n\n  nginx redis:7\tquay.io/b/c \r\nnginx # again\n")
    assert read_references([str(file)]) == (
        "docker.io/library/nginx:latest",
        "docker.io/library/redis:7",
        "quay.io/b/c:latest",
    )
    more = tmp_path / "more"
    more.write_text("busybox")
    assert len(read_references([str(file), str(more)])) == 4


def test_a_list_comes_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"nginx")))
    assert read_references(["-"]) == ("docker.io/library/nginx:latest",)


def test_stdin_and_a_pipe_that_are_named_twice_are_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"nginx")))
    assert read_references(["-", "/dev/stdin"]) == ("docker.io/library/nginx:latest",)
    ours, theirs = os.pipe()
    os.write(theirs, b"nginx")
    os.close(theirs)
    pipe, inputs = f"/dev/fd/{ours}", Inputs()
    assert read_references([pipe, pipe], inputs=inputs) == ("docker.io/library/nginx:latest",)
    # The rules of a policy may name it, each for itself.
    assert read_references([pipe], inputs=inputs) == ("docker.io/library/nginx:latest",)
    os.close(ours)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# nothing\n", b"\xff\xfe"])
def test_a_list_that_names_nothing_or_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    file, other = tmp_path / "images", tmp_path / "other"
    file.write_bytes(content)
    other.write_text("nginx")
    # One list of several that is empty means as much: what made it has failed.
    with pytest.raises(UsageError, match=r"^--keep-from .*images: (names no image|not text)"):
        read_references([str(other), str(file)])


def test_a_list_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--keep-from .*/images: can't be read: No such file"):
        read_references([str(tmp_path / "images")])
