"""What Dask says in logs: its own messages are about its parts, not about the cache.

Stage: rim. Input: none. Output: none. I/O: none.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_SPEAKERS = ("distributed", "dask", "tornado", "asyncio", "bokeh")


@contextmanager
def silenced() -> Iterator[None]:
    """Lets nothing that Dask logs be seen meanwhile: what matters of it, our errors say."""
    # Dask sets its handlers up when it is imported.
    try:
        import distributed  # noqa: F401
    except ImportError:
        yield
        return
    before = [(logger, logger.handlers[:], logger.propagate) for logger in _loggers()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger, _, _ in before:
            logger.handlers[:] = [logging.NullHandler()]
            logger.propagate = False
        try:
            yield
        finally:
            for logger, handlers, propagate in before:
                logger.handlers[:] = handlers
                logger.propagate = propagate


def _loggers() -> list[logging.Logger]:
    """The loggers of Dask and of what it stands on that have handlers, or should have."""
    names = {
        name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _SPEAKERS
    }
    loggers = [logging.getLogger(name) for name in sorted(names.union(_SPEAKERS))]
    return [logger for logger in loggers if logger.handlers or logger.name in _SPEAKERS]
