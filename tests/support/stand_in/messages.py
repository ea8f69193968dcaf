"""Requests and answers, as values.

Stage: pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Attributes:
        method: GET and the like.
        path: As it was sent, without the query.
        query: What follows the question mark.
        headers: By name in small letters.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> str | None:
        """The first value of a parameter; None if it is not there."""
        values = parse_qs(self.query, keep_blank_values=True, encoding="utf-8").get(name)
        return values[0] if values else None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        status: 200 and the like.
        body: What follows the headers; for HEAD it is left out.
        headers: Those that `body` does not make clear.
        streamed: Whether the server does not know the size before it has written the body.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    streamed: bool = False


def stream(body: str) -> Answer:
    """An answer in plain text that is written piece by piece."""
    return Answer(200, body.encode(), {"Content-Type": "text/plain"}, streamed=True)


def text(body: str, status: int = 200) -> Answer:
    """An answer in plain text."""
    return Answer(status, body.encode(), {"Content-Type": "text/plain; charset=UTF-8"})


def json(body: str, status: int = 200) -> Answer:
    """An answer in JSON; the server ends it with a line feed."""
    return Answer(status, f"{body}\n".encode(), {"Content-Type": "application/json"})
