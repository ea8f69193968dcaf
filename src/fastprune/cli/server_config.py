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

_TYPES = ("pattern", "date", "created", "accessed")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The settings of the file that concern fastprune.

    Attributes:
        source: Path of the file, for messages.
        image_path: `imagePath`.
        prune: `pruneConfig` as a mapping with lower-case keys; empty if there is none.
    """

    source: str = ""
    image_path: str | None = None
    prune: dict[str, Any] | None = None


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
    """The file of --config-file. It is read once, at the first use: a pipe gives its content once.

    Attributes:
        path: Its path.
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
            key is there twice, or a known key has a wrong value.
    """
    # The YAML library is loaded only if there is a file.
    from fastprune.guard.server_yaml import (
        IMAGE_PATH,
        PRUNE_CONFIG,
        ServerYamlError,
        load,
        value_of,
    )
    from fastprune.policy.criteria_io import Inputs

    try:
        document = load(Inputs().read(path, "--config-file"))
    except OSError as error:
        raise UsageError(f"--config-file {path}: {error.strerror}") from None
    except ServerYamlError as error:
        raise UsageError(f"--config-file {path}: {error}") from None
    prune = value_of(document, PRUNE_CONFIG)
    if prune is not None and not isinstance(prune, dict):
        raise UsageError(f"--config-file {path}: {PRUNE_CONFIG} is not a mapping")
    image_path = value_of(document, IMAGE_PATH) or None
    return ServerConfig(path, image_path, _lower(prune) if prune else None)


def prune_settings(config: ServerConfig) -> PruneSettings:
    """Translates `pruneConfig`.

    Raises:
        UsageError: A known key has a value that can't be used.
    """
    prune = config.prune or {}
    where = f"--config-file {config.source}: pruneConfig"
    kind = str(prune.get("type") or "").lower()
    if kind and kind not in _TYPES:
        raise UsageError(f"{where}.type: {kind!r} is none of {', '.join(_TYPES)}")
    expr = _text(prune, "expr", where)
    duration = _text(prune, "duration", where)
    if kind in ("pattern", "date") and not expr:
        raise UsageError(f"{where}.expr: type {kind} needs it")
    if kind in ("created", "accessed") and not duration:
        raise UsageError(f"{where}.duration: type {kind} needs it")
    _check_value(kind, expr, duration, where)
    count = prune.get("count")
    if count is not None and type(count) is not int:
        raise UsageError(f"{where}.count: not a whole number: {count!r}")
    dry_run = prune.get("dryrun")
    if dry_run is not None and type(dry_run) is not bool:
        raise UsageError(f"{where}.dryRun: neither true nor false: {dry_run!r}")
    return PruneSettings(
        pattern=[expr] if kind == "pattern" and expr else None,
        date=expr if kind == "date" else None,
        older_than=duration if kind == "created" else None,
        not_pulled_for=duration if kind == "accessed" else None,
        # The server writes "no limit" as -1.
        count=count if count is not None and count >= 0 else None,
        dry_run=dry_run,
    )


def _check_value(kind: str, expr: str | None, duration: str | None, where: str) -> None:
    """Checks a value as its option would, so that the message names the key."""
    from fastprune.policy.criteria import parse_cutoff

    if kind == "pattern" and expr:
        from fastprune.patterns import split_patterns

        split_patterns([expr], f"{where}.expr")
    elif kind == "date" and expr:
        parse_cutoff(expr, f"{where}.expr")
    elif duration:
        parse_duration(duration, f"{where}.duration")


def _text(prune: dict[str, Any], key: str, where: str) -> str | None:
    value = prune.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise UsageError(f"{where}.{key}: not a string: {value!r}")
    return value


def _lower(mapping: dict[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in mapping.items()}
