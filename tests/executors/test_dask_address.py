"""Addresses of clusters: what can be used, and what is said of the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastprune.errors import UsageError
from fastprune.executors.dask_address import ClusterAddress, parse_address


@pytest.mark.parametrize(
    "text",
    [
        "tcp://10.0.0.1:8786",
        "tls://scheduler.dask.svc:8786",
        "tcp://[::1]:8786",
        "tcp://localhost:1/",
    ],
)
def test_the_address_of_a_scheduler_is_taken_as_it_is(text: str) -> None:
    assert parse_address(text) == ClusterAddress(text, scheduler=text)


@pytest.mark.parametrize("number", [1, 2, 1024])
def test_local_says_how_many_processes(number: int) -> None:
    text = f"local:{number}"
    assert parse_address(text) == ClusterAddress(text, processes=number)


def test_the_file_of_a_scheduler_has_the_address(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"type": "Scheduler", "address": "tcp://10.1.2.3:8786"}))
    assert parse_address(str(file)) == ClusterAddress(str(file), scheduler="tcp://10.1.2.3:8786")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("local:0", "from 1 to 1024"),
        ("local:1025", "from 1 to 1024"),
        ("local:", "from 1 to 1024"),
        ("local:-2", "from 1 to 1024"),
        ("local:two", "from 1 to 1024"),
        ("local:²", "from 1 to 1024"),
        ("inproc://1", "inproc:// is not supported"),
        ("ucx://host:1", "ucx:// is not supported"),
        ("http://host:8787", "http:// is not supported"),
        ("local://2", "local:// is not supported"),
        ("tcp://", "host and port"),
        ("tcp://host", "host and port"),
        ("tcp://:8786", "host and port"),
        ("tcp://host:0", "host and port"),
        ("tcp://host:port", "no address"),
        ("tcp://host:99999", "no address"),
        ("tcp://[::1:8786", "no address"),
        ("tcp://user@host:8786", "host and port"),
        ("tcp://host:8786/path", "host and port"),
        ("10.0.0.1:8786", "No such file"),
        ("nul\0", "can't be read"),
    ],
)
def test_anything_else_is_refused_with_what_to_give(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        parse_address(text)
    assert "local:N" in str(refused.value) or "no address" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it has no address"),
        (b"\xff\xfe", "it has no address"),
        (b"[]", "it has no address"),
        (b"{}", "it has no address"),
        (b'{"address": 7}', "it has no address"),
        (b'{"address": "inproc://1"}', "inproc:// is not supported"),
        (b'{"address": "tcp://host"}', "host and port"),
    ],
)
def test_a_file_that_is_none_of_a_scheduler_is_refused_by_name(
    content: bytes, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "scheduler.json"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=said) as refused:
        parse_address(str(file))
    assert str(file) in str(refused.value)


def test_a_folder_is_no_file_of_a_scheduler(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Is a directory"):
        parse_address(str(tmp_path))
