"""The administrative requests below `/cmd/`.

I/O: through `Memory` only.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from .criteria import BadCriteriaError, any_of, older_than
from .holders import Holder
from .hooks import Hooks, Point
from .listings import NOTHING, blob_list, manifest_list
from .memory import Matches, Memory
from .messages import Answer, Request, json, stream, text

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_DEFAULT_COUNT = 50
_NO_LIMIT = -1


class BadRequestError(Exception):
    """The answer is 400."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body.decode())
        self.answer = answer


class Commands:
    """What administrators ask for."""

    def __init__(self, memory: Memory, hooks: Hooks, stop: Callable[[], None], seed: int) -> None:
        self._memory = memory
        self._hooks = hooks
        self._stop = stop
        self._random = random.Random(seed)

    def answer(self, request: Request) -> Answer | None:
        """The answer to a request; None if there is no such path."""
        known = {
            "/cmd/manifest/list": ("GET", self._manifests),
            "/cmd/image/list": ("GET", self._images),
            "/cmd/blob/list": ("GET", self._blobs),
            "/cmd/prune": ("DELETE", self._prune),
            "/cmd/stop": ("GET", self._stopped),
        }
        if request.path not in known:
            return None
        method, answer = known[request.path]
        if request.method != method:
            return json('{"message":"method not allowed"}', 405)
        try:
            return answer(request)
        except BadRequestError as error:
            return error.answer

    def _manifests(self, request: Request) -> Answer:
        return _listing(manifest_list(self._listed(request, digest=None)))

    def _images(self, request: Request) -> Answer:
        found = self._listed(request, digest=request.value("digest"))
        return _listing(manifest_list(found, with_blobs=True))

    def _listed(self, request: Request, digest: str | None) -> list[Holder]:
        count = _count(request)
        pattern = request.value("pattern")
        matches: Matches = _everything
        if pattern is not None:
            try:
                matches = any_of(pattern)
            except BadCriteriaError as error:
                raise BadRequestError(text("invalid parameters\n", 400)) from error
        elif digest is not None:
            wanted = digest
            matches = lambda one: any(wanted in f"sha256:{blob.digest}" for blob in one.blobs)  # noqa: E731
        self._hooks.at(Point.BEFORE_MATCHING, request.path)
        return self._memory.matching(matches, count)

    def _blobs(self, request: Request) -> Answer:
        count, substr = _count(request), request.value("substr") or ""
        found = [one for one in self._memory.counted_blobs().items() if substr in one[0]]
        if count < len(found):
            self._random.shuffle(found)
        return _listing(blob_list(dict(found[: max(count, 0)])))

    def _prune(self, request: Request) -> Answer:
        kind = request.value("type")
        if kind is None:
            missing = '{"message":"parameter \\"type\\" in query has an error: value is required"}'
            raise BadRequestError(json(missing, 400))
        count = _count(request)
        dry = request.value("dryRun")
        if dry is not None and dry not in _TRUE + _FALSE:
            raise BadRequestError(text(f"invalid dry run param: {dry}", 400))
        try:
            matches = self._criteria(kind.lower(), request)
        except BadCriteriaError as error:
            raise BadRequestError(text("unable to parse prune params", 400)) from error
        self._hooks.at(Point.BEFORE_MATCHING, request.path)
        found = self._memory.matching(matches, count)
        self._hooks.at(Point.MATCHED, str(len(found)))
        if dry in _FALSE:
            self._memory.prune(found)
        # The log at the default level: nothing, whatever happened.
        return stream("")

    @staticmethod
    def _criteria(kind: str, request: Request) -> Matches:
        if kind == "pattern":
            return any_of(request.value("expr") or "")
        if kind in ("created", "accessed"):
            # The wall clock of the manifests is taken for UTC.
            now = datetime.now(UTC).replace(tzinfo=None)
            return older_than(kind, request.value("dur") or "", now)
        raise BadCriteriaError(f"unknown type {kind}")

    def _stopped(self, request: Request) -> Answer:
        self._stop()
        return Answer(200)


def _listing(body: str) -> Answer:
    return text(body) if body == NOTHING else stream(body)


def _everything(holder: Holder) -> bool:
    return True


def _count(request: Request) -> int:
    given = request.value("count")
    if given is None:
        return _DEFAULT_COUNT
    try:
        count = int(given)
    except ValueError as error:
        raise BadRequestError(json('{"message":"count is no integer"}', 400)) from error
    return sys.maxsize if count == _NO_LIMIT else count
