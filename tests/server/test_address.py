from __future__ import annotations

import pytest

from fastprune.errors import UsageError
from fastprune.server.address import ServerAddress, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://localhost:8080", ServerAddress("http", "localhost", 8080)),
        ("http://localhost:8080/", ServerAddress("http", "localhost", 8080)),
        ("HTTPS://Registry.Example.com:8443", ServerAddress("https", "registry.example.com", 8443)),
        ("http://registry", ServerAddress("http", "registry", 80)),
        ("https://registry", ServerAddress("https", "registry", 443)),
        ("http://127.0.0.1:1", ServerAddress("http", "127.0.0.1", 1)),
        ("http://[::1]:8080", ServerAddress("http", "::1", 8080)),
    ],
)
def test_an_address_is_a_scheme_a_host_and_a_port(text: str, address: ServerAddress) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("localhost:8080", "give http://localhost:8080"),
        ("localhost", "give http://localhost"),
        ("", "http:// or https:// is missing"),
        ("ftp://localhost:8080", "'ftp' is neither http nor https"),
        ("unix:///run/server.sock", "'unix' is neither http nor https"),
        ("http://localhost:8080/cmd", "give http://localhost:8080"),
        ("http://localhost:8080?x=1", "more than a host and a port; give http://localhost:8080"),
        ("http://localhost:8080/?", "more than a host and a port"),
        ("http://localhost:8080#x", "more than a host and a port"),
        ("http://localhost:8080#", "more than a host and a port"),
        ("http://", "no host and port"),
        ("http://:8080", "no host and port"),
        ("http://localhost:", "no host and port"),
        ("http://localhost:0", "no host and port"),
        ("http://localhost:65536", "give http://host:port"),
        ("http://localhost:http", "give http://host:port"),
        ("http://[::1", "give http://host:port"),
        ("http://[fe80::1%eth0]:80", "no host and port"),
        ("http://local host:80", "no host and port"),
        ("http://local\nhost:80", "give http://"),
        ("http://-x:80", "no host and port"),
        ("http://регистр:80", "no host and port"),
    ],
)
def test_anything_else_is_a_usage_error_that_says_what_to_give(text: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert str(caught.value).startswith("--server: ")
    assert part in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text", ["http://me:secret@localhost:8080", "http://secret@localhost", "http://x/@secret"]
)
def test_a_password_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError, match=r"\$FASTPRUNE_SERVER: a user or a password") as caught:
        parse_address(text, "$FASTPRUNE_SERVER")
    assert "secret" not in str(caught.value)
