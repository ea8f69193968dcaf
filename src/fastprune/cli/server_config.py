"""ociregistry's own configuration file: the keys that fastprune reads.

Known keys: `imagePath`, and in `pruneConfig`: `type` (pattern, date, created, accessed),
`expr`, `duration`, `count`, `dryRun`; in any letter case. All other keys belong to the server.
`fastprune.guard.server_yaml` says which files are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastprune.errors import UsageError
from fastprune.text.quantities import parse_duration

_DRY_RUN = "dryRun"
_PRUNE_KEYS = ("type", "expr", "duration", "count", _DRY_RUN)
_TYPES = {
    "pattern": ("expr", "pattern"),
    "date": ("expr", "date"),
    "created": ("duration", "older_than"),
    "accessed": ("duration", "not_pulled_for"),
}
"""The key with the value of each type of prune, and the option that means the same."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The settings of the file that concern fastprune.

    Attributes:
        prune: `pruneConfig` as a mapping with lower-case keys; None or empty if there is none.
        prunes_by_itself: Whether a server with this file prunes by itself.
    """

    source: str = ""
    image_path: str | None = None
    prune: dict[str, Any] | None = None
    prunes_by_itself: bool = False


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """`pruneConfig` as values of options; None means not given."""

    pattern: list[str] | None = None
    date: str | None = None
    older_than: str | None = None
    not_pulled_for: str | None = None
    count: int | None = None
    dry_run: bool | None = None


class ConfigFile:
    """The file of --config-file.

    It is read once, at the first use: a pipe gives its content once.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._loaded: ServerConfig | UsageError | None = None

    def load(self) -> ServerConfig:
        """The settings of the file.

        Raises:
            UsageError: See `load_config`; each call raises the same one.
        """
        if self._loaded is None:
            try:
                self._loaded = load_config(self.path)
            except UsageError as error:
                self._loaded = error
        if isinstance(self._loaded, UsageError):
            raise self._loaded
        return self._loaded


def load_config(path: str) -> ServerConfig:
    """Reads the file, or stdin if that is what the path means.

    Raises:
        UsageError: It can't be read, the server might read it otherwise than this program, a
            key is there twice or misspelled, or a known key has a wrong value.
    """
    # The YAML library is loaded only if there is a file.
    from fastprune.guard.server_yaml import (
        IMAGE_PATH,
        PRUNE_CONFIG,
        ServerYamlError,
        load,
        prunes_by_itself,
        value_of,
    )
    from fastprune.policy.criteria_io import Inputs

    where = f"--config-file {path}: "
    try:
        document = load(Inputs().read(path, "--config-file"))
    except OSError as error:
        raise UsageError(f"{where}{error.strerror}") from None
    except ServerYamlError as error:
        raise UsageError(f"{where}{error}") from None
    prune = value_of(document, PRUNE_CONFIG)
    if prune is not None and not isinstance(prune, dict):
        raise UsageError(f"{where}{PRUNE_CONFIG} is not a mapping")
    _check_spelling(document, (IMAGE_PATH, PRUNE_CONFIG), where)
    _check_spelling(prune or {}, _PRUNE_KEYS, f"{where}{PRUNE_CONFIG}.")
    for key in document:
        if _plain(key) == _plain(_DRY_RUN):
            raise UsageError(f"{where}{key}: has no effect here; put {_DRY_RUN} in {PRUNE_CONFIG}")
    image_path = value_of(document, IMAGE_PATH) or None
    lower = {key.lower(): value for key, value in prune.items()} if prune else None
    return ServerConfig(path, image_path, lower, prunes_by_itself(document))


def _check_spelling(mapping: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    """Refuses a known key with dashes or underscores: who wrote `dry_run` means a dry run."""
    for key in mapping:
        for name in known:
            if _plain(key) == _plain(name) and key.lower() != name.lower():
                raise UsageError(f"{where}{key}: unknown key; write {name}")


def _plain(key: str) -> str:
    return key.replace("-", "").replace("_", "").lower()


def prune_settings(config: ServerConfig) -> PruneSettings:
    """Translates `pruneConfig`."""
    prune = config.prune or {}
    where = f"--config-file {config.source}: pruneConfig"
    kind = str(prune.get("type") or "").lower()
    if kind and kind not in _TYPES:
        raise UsageError(f"{where}.type: {kind!r} is none of {', '.join(_TYPES)}")
    texts = {key: _text(prune, key, where) for key in ("expr", "duration")}
    criterion: dict[str, Any] = {}
    if kind:
        key, option = _TYPES[kind]
        text = texts[key]
        if not text:
            raise UsageError(f"{where}.{key}: type {kind} needs it")
        _check_value(kind, text, f"{where}.{key}")
        criterion[option] = [text] if kind == "pattern" else text
    elif texts["duration"]:
        parse_duration(texts["duration"], f"{where}.duration")
    count = prune.get("count")
    if count is not None and type(count) is not int:
        raise UsageError(f"{where}.count: not a whole number: {count!r}")
    dry_run = prune.get("dryrun")
    if dry_run is not None and type(dry_run) is not bool:
        raise UsageError(f"{where}.dryRun: neither true nor false: {dry_run!r}")
    return PruneSettings(
        **criterion,
        # The server writes "no limit" as -1.
        count=count if count is not None and count >= 0 else None,
        dry_run=dry_run,
    )


def _check_value(kind: str, text: str, where: str) -> None:
    """Checks a value as its option would, so that the message names the key."""
    from fastprune.policy.criteria import parse_cutoff

    if kind == "pattern":
        from fastprune.patterns import split_patterns

        split_patterns([text], where)
    elif kind == "date":
        parse_cutoff(text, where)
    else:
        parse_duration(text, where)


def _text(prune: dict[str, Any], key: str, where: str) -> str | None:
    value = prune.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise UsageError(f"{where}.{key}: not a string: {value!r}")
    return value
