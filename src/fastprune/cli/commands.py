"""The table of commands: where each is, and what it does in a line.

A module of options takes longer to import than its command's name is worth: `run` imports
only the modules of those commands whose names stand on the command line.
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
    "list": Entry("list_command", "List the manifests of the cache."),
    "du": Entry(
        "du_command",
        "Show where the space goes: by registry, repository, image or layer, and by age.",
    ),
    "plan": Entry(
        "plan_command", "Work out a prune and write it to a file, for review and for apply."
    ),
    "prune": Entry(
        "prune_command",
        "Remove selected manifests and the blobs that nothing needs any more.",
    ),
    "apply": Entry(
        "apply_command",
        "Carry out a saved plan: never more than it names, and only what is still safe.",
    ),
    "verify": Entry(
        "verify_command",
        "Check the cache: unreadable manifests, missing, short or altered blobs, orphans.",
    ),
    "explain": Entry(
        "explain_command",
        "Say why an image would be kept or removed, and what holds its blobs.",
    ),
    "trash": Entry(
        "trash_command",
        "Show, put back or delete for good what 'prune --trash' moved aside.",
    ),
    "tune": Entry(
        "tune_command",
        "Measure this machine and file system; recommend --jobs and --concurrency.",
    ),
}
"""By name, in the order in which `--help` shows them."""
