"""Runs the original, ociregistry, on a cache, and compares its answers with those of fastprune.

Its `list` must name the same manifests, and its dry run the same URLs. It may name fewer blobs: it
knows manifests by URL, so of two files with one URL it counts down only one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from measure import Command, MeasureError

NAME = "ociregistry"
SECTIONS = {"Prune manifests (dry run):": "manifests", "Prune blobs (dry run):": "blobs"}
# It adds sizes in single precision, so its only decimal can be off by one.
MEGABYTES_APART = 0.15


@dataclass(frozen=True, slots=True)
class Original:
    """The original on one cache.

    Attributes:
        program: Its path.
        root: The cache. A dry run writes a file there and removes it.
    """

    program: str
    root: Path

    def command(self, name: str, *arguments: str) -> Command:
        """A command, under the name of the command of fastprune that it is compared with."""
        start = (self.program, "--image-path", str(self.root))
        return Command(f"{NAME} {name}", (*start, *arguments))

    def prune(self, name: str, pattern: str) -> Command:
        """A dry run."""
        return self.command(name, "prune", "--pattern", pattern, "--dry-run")

    def listing(self) -> Command:
        """A list of all manifests."""
        return self.command("list", "list")


class DryRun(NamedTuple):
    """The names in the output of a dry run.

    Attributes:
        manifests: URLs; two files can have one.
        blobs: Digests.
    """

    manifests: frozenset[str]
    blobs: frozenset[str]


def read_dry_run(output: bytes) -> DryRun:
    """Reads the text of a dry run, of either program."""
    named: dict[str, set[str]] = {section: set() for section in SECTIONS.values()}
    section = ""
    for line in output.decode().splitlines():
        # An item is one word; headings, warnings and totals are several.
        if " " in line:
            section = SECTIONS.get(line, "")
        elif section:
            named[section].add(line)
    return DryRun(frozenset(named["manifests"]), frozenset(named["blobs"]))


def check_dry_run(ours: bytes, theirs: bytes) -> None:
    """Compares the dry runs of one pattern.

    Raises:
        MeasureError: They do not name the same.
    """
    mine, its = read_dry_run(ours), read_dry_run(theirs)
    if not its.manifests or mine.manifests != its.manifests:
        apart = len(mine.manifests ^ its.manifests)
        raise MeasureError(f"{NAME} prunes {len(its.manifests)} URLs; {apart} not as fastprune")
    if not its.blobs <= mine.blobs:
        more = len(its.blobs - mine.blobs)
        raise MeasureError(f"{NAME} prunes {more} blobs that fastprune keeps")


def check_listing(ours: bytes, theirs: bytes) -> None:
    """Compares two listings, which may be in any order.

    Raises:
        MeasureError: They do not name the same manifests with the same sizes.
    """
    mine, its = sorted(_rows(ours)), sorted(_rows(theirs))
    if len(mine) != len(its):
        raise MeasureError(f"{NAME} lists {len(its)} manifests, not {len(mine)}")
    for row, its_row in zip(mine, its, strict=True):
        *words, size = row
        *its_words, its_size = its_row
        if words != its_words or not _near(size, its_size):
            raise MeasureError(f"{NAME} lists {' '.join(its_row)!r}, not {' '.join(row)!r}")


def _rows(output: bytes) -> Iterator[list[str]]:
    for line in output.decode().splitlines():
        yield [word or "-" for word in line.split(" ")]


def _near(size: str, other: str) -> bool:
    return size == other or (
        "n/a" not in (size, other) and abs(float(size) - float(other)) < MEGABYTES_APART
    )
