"""The JSON Schema files of the documentation, and checks of documents with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from fastprune.text.escaping import document_lines

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas"
SUFFIX = ".schema.json"

Schema = dict[str, Any]


def as_written(document: Mapping[str, object]) -> Any:
    """A document as a program reads it that gets what a command writes; its lists are lists."""
    return json.loads("\n".join(document_lines(document)))


@cache
def schemas() -> dict[str, Schema]:
    """Every schema, by its name without the suffix."""
    return {
        path.name.removesuffix(SUFFIX): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(FOLDER.iterdir())
    }


@cache
def _registry() -> Registry[Any]:
    return Registry().with_resources(
        (name + SUFFIX, Resource.from_contents(schema)) for name, schema in schemas().items()
    )


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schemas()[name], registry=_registry())


def errors(name: str, document: object) -> list[str]:
    """What a schema finds wrong with a document.

    Args:
        name: The schema, without the suffix.
        document: The document.
    """
    found = _validator(name).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in found]


def fits(name: str, document: object) -> bool:
    """Whether a schema finds nothing wrong with a document: ends at the first error."""
    return bool(_validator(name).is_valid(document))


def subschemas(schema: object) -> Iterator[Schema]:
    """A schema and all schemas inside it."""
    if isinstance(schema, dict):
        yield schema
        for part in schema.values():
            yield from subschemas(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from subschemas(part)
