"""The log file of a run: `run.log` in its folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from collab.report.trajectory import safe


class _SafeFormatter(logging.Formatter):
    """Escapes control characters, and indents continuation lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return safe(super().format(record)).replace("\n", "\n    ")


class _RunLogHandler(logging.FileHandler):
    """Writes to the log file; a write that fails, such as on a full disk, stops nothing."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore the error: the run reports a full disk when it writes its results."""

    def close(self) -> None:
        """Close the file, even if its last lines cannot be written."""
        with suppress(OSError):
            super().close()


@contextmanager
def logging_to(folder: Path) -> Iterator[None]:
    """Send collab's log to `run.log` in a run's folder."""
    handler = _RunLogHandler(folder / "run.log", encoding="utf-8")
    handler.setFormatter(_SafeFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("collab")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
