"""The audit log of a command: opened before any work, and ended even after an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastprune.audit.audit_file import AuditFile, open_audit_log
from fastprune.cli.messages import log


@contextmanager
def opened_audit(path: str | None, root: str) -> Iterator[AuditFile | None]:
    """Opens the file of the audit log, if one was asked for; says so if it is not whole.

    Raises:
        UsageError: It can't be opened; nothing was deleted.
    """
    if path is None:
        yield None
        return
    with open_audit_log(path, root) as audit:
        try:
            yield audit
        finally:
            if audit.incomplete is not None:
                log.error("%s", audit.incomplete)
