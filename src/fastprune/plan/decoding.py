"""The lines of a plan's file to a `SavedPlan`, strictly.

Stage: plan. Input: bytes. Output: `SavedPlan`. Pure, no I/O.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Set as AbstractSet
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import orjson

from fastprune.errors import PlanFileError, UsageError
from fastprune.index.digests import as_digests
from fastprune.layouts.layout import Layout, ManifestRecord
from fastprune.model import DIGEST_BYTES, DIGEST_PREFIX, LARGEST_INT64, ManifestKind, is_hex_name
from fastprune.plan.manifest_states import pull_digest, said_digest
from fastprune.plan.saved_plan import (
    NO_FOLDER,
    VERSION,
    BlobLine,
    CacheIdentity,
    ManifestLine,
    ManifestNames,
    PlanHeader,
    SavedPlan,
    last_line,
)
from fastprune.policy.policy import NO_NAME, Policy, Rule

_MOST_LINE_BYTES = 64 * 1024 * 1024


class PlanDecoder:
    """Reads a plan piece by piece, strictly: what it does not know, it refuses."""

    def __init__(self, layout: Layout, *, most_line_bytes: int = _MOST_LINE_BYTES) -> None:
        """Has read nothing yet. A line longer than `most_line_bytes` is refused."""
        self._most_line_bytes = most_line_bytes
        self._folders = layout.manifest_folders
        self._rest = b""
        self._line = 0
        self._checksum = hashlib.sha256()
        self._header: PlanHeader | None = None
        self._ended = False
        self._last: tuple[int, bytes] = (0, b"")
        self._manifests, self._owners, self._broken_by = (_Names(self._folders) for _ in range(3))
        self._said, self._pulls, self._blobs = bytearray(), bytearray(), bytearray()
        self._broken: list[int] = []
        self._by_rule = array("h")
        self._absent: AbstractSet[str] = frozenset()
        self._rules: dict[str, int] = {}

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes of the file.

        Raises:
            PlanFileError: They can't be part of a plan; the message names the line.
        """
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._line += 1
            self._take(line)
        if len(self._rest) > self._most_line_bytes:
            raise PlanFileError(f"line {self._line + 1}: too long")

    def finish(self) -> SavedPlan:
        """Gives the plan, once all bytes were fed.

        Raises:
            PlanFileError: The file is not whole.
        """
        if self._header is None or not self._ended or self._rest:
            raise PlanFileError(
                f"line {self._line + 1}: the plan is not whole: its last line is missing"
            )
        return SavedPlan(
            header=self._header,
            manifests=self._manifests.columns(),
            said=as_digests(self._said),
            pulls=as_digests(self._pulls),
            owners=self._owners.columns(),
            broken=np.array(self._broken, dtype=np.intp),
            broken_by=self._broken_by.columns(),
            by_rule=np.array(self._by_rule, dtype=np.int16) if self._rules else None,
            blobs=as_digests(self._blobs),
        )

    def _take(self, line: bytes) -> None:
        if self._ended:
            raise PlanFileError(f"line {self._line}: there is more after the last line")
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise PlanFileError(f"line {self._line}: not valid JSON: {error}") from None
        try:
            self._take_document(document, line)
        except _WrongError as wrong:
            raise PlanFileError(f"line {self._line}: {wrong}") from None
        self._checksum.update(line + b"\n")

    def _take_document(self, document: Any, line: bytes) -> None:
        record = document.get("record") if type(document) is dict else None
        if self._header is None:
            if record != "plan":
                raise _WrongError("this is no plan of fastprune")
            self._header = _header(document)
            if document["version"] == 1:
                self._absent = _NOT_IN_VERSION_1
            self._rules = {name: n for n, name in enumerate(self._header.policy.rule_names)}
        elif record == "manifest":
            self._take_manifest(document)
        elif record == "blob":
            self._take_blob(document)
        elif record == "end":
            if line != last_line(self._checksum.hexdigest()):
                raise _WrongError("the checksum is wrong: the file was altered")
            self._ended = True
        else:
            raise _WrongError(f"unknown record {record!r:.40}")

    def _take_manifest(self, document: Any) -> None:
        _check(document, _MANIFEST, without=self._absent)
        line = ManifestLine(**{"rule": None, **document})
        if line.type not in list(ManifestKind) or ManifestKind(line.type).label != line.kind:
            raise _WrongError("type and kind don't fit")
        folder, digest = _split(line.path, self._folders)
        if self._blobs or (folder, digest) <= self._last:
            raise _WrongError("manifests must come by path, each once, before the blobs")
        self._last = folder, digest
        record = ManifestRecord(line.type, line.url, line.created, line.pulled, "", [])
        self._manifests.append(line.path)
        self._said += said_digest(record, _raw(line.references))
        self._pulls += pull_digest(record)
        self._owners.append(line.taken_by)
        self._by_rule.append(self._rule(line.rule))
        for parent in line.breaks:
            self._broken.append(len(self._manifests) - 1)
            self._broken_by.append(parent)

    def _rule(self, name: str | None) -> int:
        if name is None:
            return NO_NAME
        if name not in self._rules:
            raise _WrongError(f"rule: the policy has none of this name: {name!r:.80}")
        return self._rules[name]

    def _take_blob(self, document: Any) -> None:
        _check(document, _BLOB)
        digest = document["digest"]
        if not digest.startswith(DIGEST_PREFIX):
            raise _WrongError(f"not a digest: {digest!r:.80}")
        raw = _raw(digest.removeprefix(DIGEST_PREFIX))
        if raw <= self._blobs[-DIGEST_BYTES:] and self._blobs:
            raise _WrongError("blobs must come by digest, each once")
        self._blobs += raw


class _WrongError(Exception):
    """What is wrong in a line."""


class _Names:
    """Collects `ManifestNames`."""

    def __init__(self, folders: tuple[str, ...]) -> None:
        self._known = folders
        self._folders, self._digests = bytearray(), bytearray()

    def __len__(self) -> int:
        return len(self._folders)

    def append(self, path: str | None) -> None:
        folder, digest = (
            (NO_FOLDER, bytes(DIGEST_BYTES)) if path is None else _split(path, self._known)
        )
        self._folders.append(folder)
        self._digests += digest

    def columns(self) -> ManifestNames:
        return ManifestNames(
            np.frombuffer(self._folders, dtype=np.uint8), as_digests(self._digests)
        )


_Types = dict[str, tuple[type, ...]]
"""The types that the fields of an object may have in JSON, by name."""


def _types_of(form: type) -> _Types:
    """The types that the fields of a class have in JSON."""
    return {name: _in_json(hint) for name, hint in get_type_hints(form).items()}


def _in_json(hint: Any) -> tuple[type, ...]:
    if isinstance(hint, UnionType):
        return get_args(hint)
    if get_origin(hint) in (tuple, list):
        return (list,)
    if hint is float:
        return (float, int)
    return (hint,) if hint in (str, int, bool) else (dict,)


_HEADER: _Types = {"record": (str,), "version": (int,)} | _types_of(PlanHeader)
_MANIFEST, _BLOB = _types_of(ManifestLine), _types_of(BlobLine)
_CACHE, _RULE, _POLICY = map(_types_of, (CacheIdentity, Rule, Policy))
_NOT_IN_VERSION_1 = {
    *("dangling", "broken", "keep_last", "keep_since", "keep_references"),
    *("max_bytes", "free_bytes", "rule", "rules"),
}


def _check(document: Any, types: _Types, *, without: AbstractSet[str] = frozenset()) -> None:
    """Checks that an object has exactly these fields, but for some."""
    if type(document) is not dict:
        raise _WrongError("not an object")
    odd = sorted(document.keys() ^ (types.keys() - without))
    if odd:
        has = "unknown" if odd[0] in document else "missing"
        raise _WrongError(f"{has} field {odd[0]!r:.40}")
    for name, value in document.items():
        if type(value) not in types[name] or (type(value) is int and value < 0):
            raise _WrongError(f"{name}: not what it should be: {value!r:.80}")
        if type(value) is list and name != "rules" and not all(type(one) is str for one in value):
            raise _WrongError(f"{name}: not an array of texts")


def _header(document: dict[str, Any]) -> PlanHeader:
    version = document.get("version")
    if type(version) is int and version > VERSION:
        raise _WrongError(
            f"format version {version}, and this fastprune knows none after {VERSION}: "
            "use the fastprune that wrote it"
        )
    if type(version) is not int or version < 1:
        raise _WrongError(f"version: not what it should be: {version!r:.80}")
    _check(document, _HEADER)
    _check(document["totals"], dict.fromkeys(document["totals"], (int,)))
    _check(document["cache"], _CACHE)
    if not 0 <= document["grace"] <= LARGEST_INT64:
        raise _WrongError(f"grace: not what it should be: {document['grace']!r:.80}")
    fields = {name: value for name, value in document.items() if name not in ("record", "version")}
    return PlanHeader(
        **fields
        | {
            "cache": CacheIdentity(**document["cache"]),
            "policy": _policy(document["policy"], version),
            "grace": float(document["grace"]),
            "corrupt": tuple(document["corrupt"]),
        }
    )


def _policy(document: dict[str, Any], version: int) -> Policy:
    _check(document, _POLICY, without=_NOT_IN_VERSION_1 if version == 1 else frozenset())
    policy = _criteria(document, tuple(map(_rule, document.get("rules", ()))))
    try:
        policy.check()
    except UsageError as error:
        raise _WrongError(f"policy: {error}") from None
    return policy


def _rule(document: Any) -> Rule:
    _check(document, _RULE)
    name, policy = document["name"], document["policy"]
    _check(policy, _POLICY)
    if policy["rules"]:
        raise _WrongError(f"rule {name!r:.80}: has rules of its own")
    return Rule(name, _criteria(policy, ()))


def _criteria(document: dict[str, Any], rules: tuple[Rule, ...]) -> Policy:
    values: dict[str, Any] = {
        name: tuple(value) if type(value) is list else value for name, value in document.items()
    }
    return Policy(**values | {"rules": rules})


def _split(path: str, folders: tuple[str, ...]) -> tuple[int, bytes]:
    """The folder, by number, and the raw digest that a path names."""
    folder, _, name = path.partition("/")
    if folder not in folders or not is_hex_name(name):
        raise _WrongError(f"not the path of a manifest: {path!r:.80}")
    return folders.index(folder), bytes.fromhex(name)


def _raw(name: str) -> bytes:
    if not is_hex_name(name):
        raise _WrongError(f"not a digest: {name!r:.80}")
    return bytes.fromhex(name)
