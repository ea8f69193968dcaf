from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
import re2
from tests.support.canned_server import (
    Answer,
    Authority,
    CannedServer,
    Request,
    answer,
    canned_server,
)

from fastprune.errors import ServerError, UsageError
from fastprune.server.address import parse_address
from fastprune.server.client import ServerClient
from fastprune.server.listing import ServerListing

T = TypeVar("T")

DIGEST = "0123456789" + "a" * 54
URLS = ["docker.io/library/nginx:1.25", f"docker.io/a+b/c,d@sha256:{DIGEST}"]


def listed(*urls: str) -> bytes:
    if not urls:
        return answer("no manifests found\n")
    lines = [f"{url.replace(DIGEST, DIGEST[:10])} {DIGEST}   \n" for url in urls]
    return answer("URL DIGEST CREATED PULLED\n" + "".join(lines))


def ask(url: str, work: Callable[[ServerClient], Awaitable[T]], **options: Any) -> T:
    async def run() -> T:
        async with ServerClient(parse_address(url), **options) as client:
            return await work(client)

    return anyio.run(run)


def asked(request: Request) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.target).query, keep_blank_values=True, strict_parsing=True)


def all_of(client: ServerClient) -> Awaitable[ServerListing]:
    return client.listing()


def failing(server: CannedServer, **options: Any) -> ServerError:
    """The error of a request for the list."""
    return error_of(server.url, **options)


def error_of(url: str, **options: Any) -> ServerError:
    with pytest.raises(ServerError) as caught:
        ask(url, all_of, **options)
    error = caught.value
    assert error.exit_code == 1
    assert f"GET {url}/cmd/manifest/list?count=-1: " in str(error)
    assert str(error).isprintable()
    assert error.hint
    return error


def test_all_are_listed_without_a_limit() -> None:
    with canned_server(listed(*URLS)) as server:
        listing = ask(server.url, all_of)
    assert listing.urls == URLS
    [request] = server.requests
    assert (request.method, request.target) == ("GET", "/cmd/manifest/list?count=-1")


def test_a_request_goes_out_as_it_was_encoded() -> None:
    with canned_server(listed(*URLS)) as server:
        listing = ask(server.url, lambda client: client.listing(URLS))
    assert listing.urls == URLS
    [request] = server.requests
    assert request.target == (
        "/cmd/manifest/list?count=-1&pattern=%5Edocker%5C.io%2Flibrary%2Fnginx%3A1%5C.25%24%2C"
        rf"%5Edocker%5C.io%2Fa%5C%2Bb%2Fc%5Cx2Cd%40sha256%3A{DIGEST}%24"
    )


def test_nothing_is_listed_if_none_of_them_is_known() -> None:
    with canned_server(listed()) as server:
        assert len(ask(server.url, lambda client: client.listing(URLS))) == 0


def test_without_urls_nothing_is_asked() -> None:
    with canned_server(listed()) as server:
        listing = ask(server.url, lambda client: client.listing([]))
    assert (len(listing), listing.digests.shape, server.requests) == (0, (0, 32), [])


def test_many_urls_are_asked_for_in_several_requests() -> None:
    many = [f"docker.io/library/image-{at:040}:1" for at in range(1200)]

    def those(request: Request) -> bytes:
        found = [re2.compile(one) for one in asked(request)["pattern"][0].split(",")]
        return listed(*(url for url in many if any(one.search(url) for one in found)))

    with canned_server(those) as server:
        listing = ask(server.url, lambda client: client.listing(many))
    assert listing.urls == many
    assert listing.digests.shape == (1200, 32)
    assert len(server.requests) > 1


def test_an_answer_that_names_others_is_an_error() -> None:
    with canned_server(listed(*URLS)) as server:
        with pytest.raises(ServerError, match="c,d@sha256.*which was not asked for"):
            ask(server.url, lambda client: client.listing(URLS[:1]))


def test_a_prune_says_all_that_the_server_would_else_fill_in() -> None:
    with canned_server(answer("removed manifest: all\n")) as server:
        result: object = ask(server.url, lambda client: client.prune(URLS))
    assert result is None
    [request] = server.requests
    assert request.method == "DELETE"
    assert urlsplit(request.target).path == "/cmd/prune"
    [expressions] = asked(request).pop("expr")
    assert asked(request) == {
        "type": ["pattern"],
        "count": ["-1"],
        "dryRun": ["false"],
        "expr": [expressions],
    }
    assert expressions.split(",") == [
        r"^docker\.io/library/nginx:1\.25$",
        rf"^docker\.io/a\+b/c\x2Cd@sha256:{DIGEST}$",
    ]


@pytest.mark.parametrize("urls", [[], [""], ["docker.io/library/nginx:1.25", ""]])
def test_no_prune_is_sent_with_an_empty_expression(urls: list[str]) -> None:
    with canned_server(answer()) as server:
        with pytest.raises(ValueError, match="would match everything"):
            ask(server.url, lambda client: client.prune(urls))
    assert server.requests == []


def test_more_than_fit_a_request_are_not_sent() -> None:
    with canned_server(answer()) as server:
        with pytest.raises(ValueError, match="do not fit"):
            ask(server.url, lambda client: client.prune(["a.b/" + "c" * 3000] * 50))
        with pytest.raises(ServerError, match="too long for a request"):
            ask(server.url, lambda client: client.prune(["a.b/" + "c" * 70_000]))
    assert server.requests == []


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (
            "docker.io/library/nginx:1.25",
            "/v2/library/nginx/manifests/1.25?ns=docker.io",
        ),
        (
            f"host:5000/a@sha256:{DIGEST}",
            f"/v2/a/manifests/sha256:{DIGEST}?ns=host%3A5000",
        ),
    ],
)
def test_a_touch_asks_for_the_head_of_a_manifest(url: str, target: str) -> None:
    with canned_server(answer(length=500)) as server:
        ask(server.url, lambda client: client.head(url))
    [request] = server.requests
    assert (request.method, request.target) == ("HEAD", target)


def test_a_touch_of_what_is_not_there_is_an_error() -> None:
    with canned_server(answer(status="404 Not Found")) as server:
        with pytest.raises(ServerError, match="does not know the request"):
            ask(server.url, lambda client: client.head(URLS[0]))


def test_a_server_of_ociregistry_is_known_by_two_answers() -> None:
    with canned_server(answer("null\n"), answer('"true"\n')) as server:
        ask(server.url, lambda client: client.check())
    assert [request.target for request in server.requests] == ["/", "/v2/"]


@pytest.mark.parametrize(
    ("answers", "part"),
    [
        ([answer("{}")], "GET {}/: the answer is not null: '{{}}'"),
        ([answer()], "GET {}/: the answer is not null: it is empty"),
        ([answer("null"), answer("{}")], "GET {}/v2/: the answer is not \"true\": '{{}}'"),
        ([answer("null"), answer(status="401 Unauthorized")], "asks for a login (status 401)"),
        ([answer("<html>", kind="text/html")], "a page for a browser: '<html>'"),
    ],
)
def test_other_programs_are_no_server_of_ociregistry(answers: list[bytes], part: str) -> None:
    with canned_server(*answers) as server:
        with pytest.raises(ServerError) as caught:
            ask(server.url, lambda client: client.check())
    assert part.format(server.url) in str(caught.value)


def test_a_redirect_is_not_followed() -> None:
    redirect = answer(status="307 Temporary Redirect", headers={"Location": "/elsewhere"})
    with canned_server(redirect, listed()) as server:
        error = failing(server)
    assert "redirect to '/elsewhere' (status 307)" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "part"),
    [
        ("201 Created", "gives an unexpected answer (status 201: 'why')"),
        ("304 Not Modified", "redirect (status 304)"),
        ("400 Bad Request", "refuses the request (status 400: 'why')"),
        ("401 Unauthorized", "asks for a login (status 401: 'why')"),
        ("403 Forbidden", "forbids it (status 403: 'why')"),
        ("404 Not Found", "does not know the request (status 404: 'why')"),
        ("405 Method Not Allowed", "does not allow the request (status 405: 'why')"),
        ("414 URI Too Long", "finds the request too long (status 414: 'why')"),
        ("418 I'm a teapot", "gives an unexpected answer (status 418: 'why')"),
        ("431 Request Header Fields Too Large", "too long (status 431: 'why')"),
        ("500 Internal Server Error", "fails (status 500: 'why')"),
        ("502 Bad Gateway", "fails (status 502: 'why')"),
    ],
)
def test_a_status_other_than_200_is_an_error(status: str, part: str) -> None:
    body = "" if status.startswith("304") else "why\n"
    with canned_server(answer(body, status=status)) as server:
        assert part in str(failing(server))
    assert len(server.requests) == 1


def test_what_an_answer_says_is_shown_printable_and_cut() -> None:
    with canned_server(answer(b"\x1b[31m\xff" + b"x" * 100_000, "500 Oh no")) as server:
        error = failing(server)
    assert "\\x1b[31m\N{REPLACEMENT CHARACTER}xx" in str(error)
    assert len(str(error)) < 500


BROKEN: dict[str, tuple[bytes | Answer, str]] = {
    "a page": (answer("<!DOCTYPE html>", kind="text/html"), "a page for a browser"),
    "a page that says it is text": (answer("\n<html>"), "a page for a browser: '<html>'"),
    "another content": (answer("hello\n"), "can't be used: it begins with 'hello'"),
    "an empty body": (answer(), "can't be used"),
    "a bad line": (answer("URL DIGEST CREATED PULLED\nx\n"), "line 2"),
    "a list that is cut off": (answer("URL DIGEST", length=1000), "cut off"),
    "nothing": (b"", "cut off"),
    "half a status": (b"HTTP/1.1 2", "cut off"),
    "no HTTP": (b"220 mail.example.com ESMTP\r\n\r\n", "is not HTTP"),
    "a chunk that is cut off": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nURL",
        "cut off",
    ),
    "a bad encoding": (
        answer("hello\n", headers={"Content-Encoding": "gzip"}),
        "can't be decoded",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_answer_that_is_not_as_it_should_be_is_an_error(case: str) -> None:
    sent, part = BROKEN[case]
    with canned_server(sent) as server:
        assert part in str(failing(server))
    assert len(server.requests) == 1


def test_no_more_is_read_than_an_answer_may_have() -> None:
    with canned_server(answer(b"x" * 100_000)) as server:
        assert "longer than 5000 bytes" in str(failing(server, most_bytes=5000))
        with pytest.raises(ServerError, match="longer than 5000 bytes"):
            ask(server.url, lambda client: client.prune(URLS), most_bytes=5000)


def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    def never(_: Request) -> bytes:
        server.release.wait()
        return b""

    with canned_server(never) as server:
        error = failing(server, timeout=0.05)
    assert "no whole answer within 0.05 seconds" in str(error)
    assert "--server-timeout" in error.hint


def test_each_request_has_a_connection_of_its_own() -> None:
    # The server closes each connection without saying so.
    with canned_server(listed()) as server:

        async def twice(client: ServerClient) -> int:
            return len(await client.listing()) + len(await client.listing())

        assert ask(server.url, twice) == 0
    assert len(server.requests) == 2


def test_a_client_can_be_opened_again_in_another_event_loop() -> None:
    with canned_server(listed()) as server:
        client = ServerClient(parse_address(server.url))

        async def run() -> None:
            async with client:
                await client.listing()

        anyio.run(run)
        anyio.run(run)
        with pytest.raises(RuntimeError, match="not open"):
            anyio.run(client.listing)
    assert len(server.requests) == 2


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def test_where_nothing_listens_the_connection_is_refused() -> None:
    error = error_of(f"http://127.0.0.1:{dead_port()}")
    assert str(error).endswith(": connection refused")
    assert "start the server" in error.hint


def test_a_host_that_is_not_known_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = error_of("http://nowhere.invalid:80")
    assert str(error).endswith("the name of its host is not known: Name or service not known")


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{dead_port()}")
        monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{dead_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with canned_server(listed()) as server:
        assert len(ask(server.url, all_of)) == 0
    [request] = server.requests
    assert request.target.startswith("/cmd/")


def test_no_password_of_the_environment_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with canned_server(listed()) as server:
        ask(server.url, all_of)
    assert "authorization" not in server.requests[0].headers


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.pem)
    return str(path)


def test_a_server_with_a_certificate_of_the_ca_is_trusted(
    authority: Authority, ca_file: str
) -> None:
    with canned_server(listed(*URLS), tls=authority.server()) as server:
        assert ask(server.url, all_of, ca_file=ca_file).urls == URLS


def test_a_server_of_an_unknown_ca_is_not(authority: Authority) -> None:
    with canned_server(listed(), tls=authority.server()) as server:
        error = failing(server)
    assert "its certificate is not trusted: " in str(error)
    assert "--server-ca" in error.hint
    assert server.requests == []


def test_a_server_of_another_ca_is_not(ca_file: str) -> None:
    with canned_server(listed(), tls=Authority().server()) as server:
        assert "its certificate is not trusted" in str(failing(server, ca_file=ca_file))
    assert server.requests == []


@pytest.mark.parametrize("name", ["registry.example.com", "127.0.0.2"])
def test_a_certificate_for_another_name_is_not_trusted(
    authority: Authority, ca_file: str, name: str
) -> None:
    with canned_server(listed(), tls=authority.server(name)) as server:
        error = failing(server, ca_file=ca_file)
    assert "its certificate is not trusted" in str(error)
    assert "the name that the certificate is for" in error.hint
    assert server.requests == []


def test_tls_with_a_server_without_it_says_so() -> None:
    with canned_server(answer("no TLS here", "400 Bad Request")) as server:
        error = error_of(server.url.replace("http:", "https:"))
    assert "it does not speak TLS" in str(error)
    assert error.hint == "give http:// in --server"


def test_no_tls_with_a_server_that_wants_it_says_so(authority: Authority) -> None:
    with canned_server(listed(), tls=authority.server()) as server:
        error = error_of(server.url.replace("https:", "http:"))
    assert "the server speaks TLS there" in str(error)
    assert error.hint == "give https:// in --server"


def test_a_version_of_tls_that_is_not_allowed_is_named() -> None:
    alert = b"\x15\x03\x01\x00\x02\x02\x46"
    with canned_server(alert) as server:
        error = error_of(server.url.replace("http:", "https:"))
    assert re.search("no TLS connection: .*protocol version", str(error))


def test_a_ca_file_that_can_not_be_used_is_a_usage_error(tmp_path: Path) -> None:
    https, http = parse_address("https://127.0.0.1:1"), parse_address("http://127.0.0.1:1")
    path = tmp_path / "ca.pem"
    with pytest.raises(UsageError, match=r"--server-ca .*/ca.pem: No such file"):
        ServerClient(https, ca_file=str(path))
    path.write_text("no certificate")
    with pytest.raises(UsageError, match=r"--server-ca .*/ca.pem: no certificates in PEM format"):
        ServerClient(https, ca_file=str(path))
    path.write_text("")
    with pytest.raises(UsageError, match=r"--server-ca .*/ca.pem: no certificates in PEM format"):
        ServerClient(https, ca_file=str(path))
    with pytest.raises(UsageError, match=r"--server-ca .*: Is a directory"):
        ServerClient(https, ca_file=str(tmp_path))
    with pytest.raises(UsageError, match="--server-ca: has no effect with http://127.0.0.1:1"):
        ServerClient(http, ca_file=str(path))
