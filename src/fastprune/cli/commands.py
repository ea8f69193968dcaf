"""The table of commands: the module and a one-line summary of each.

Importing the options of a command takes time. So `run` imports only the modules of commands whose
names are on the command line.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A command.

    Attributes:
        module: Registers the command when it is imported.
        summary: The first sentence of its help.
    """

    module: str
    summary: str


COMMANDS = {
    "list": Entry("list", "List the manifests of the cache."),
    "du": Entry(
        "du",
        "Show where the space goes, and how long ago it was pulled.",
    ),
    "plan": Entry("plan", "Work out a prune and write it to a file for review and apply."),
    "prune": Entry(
        "prune",
        "Remove selected manifests, and blobs that nothing else needs.",
    ),
    "apply": Entry(
        "apply",
        "Carry out a saved plan, as far as it is still safe.",
    ),
    "verify": Entry(
        "verify",
        "Check the cache for damaged manifests and blobs, and orphans.",
    ),
    "explain": Entry(
        "explain",
        "Say why an image would go or stay, and what holds its blobs.",
    ),
    "trash": Entry(
        "trash",
        "Show, put back or delete for good what prune --trash moved.",
    ),
    "tune": Entry(
        "tune",
        "Measure this machine; recommend --jobs and --concurrency.",
    ),
}
"""By name, in the order in which `--help` shows them."""
