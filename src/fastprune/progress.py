"""How far a long step is: the protocol, and the one that says nothing.

Stage: all that do I/O. The terminal's own is `fastprune.cli.bar`.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told about steps, one at a time. May be called from another thread."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """A step begins.

        Args:
            step: What is being done, in a word or two.
            total: How many units there will be; None if that is not known.
            unit: What is counted.
        """
        ...

    def advance(self, count: int, size: int = 0) -> None:
        """So many more units are done, with so many bytes."""
        ...

    def stop(self) -> None:
        """The step has ended."""
        ...


class NoProgress:
    """Says nothing."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""

    def advance(self, count: int, size: int = 0) -> None:
        """See `Progress.advance`."""

    def stop(self) -> None:
        """See `Progress.stop`."""
