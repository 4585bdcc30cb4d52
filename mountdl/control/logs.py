"""Where messages of a mount go: a file, the system's log, or standard error."""

import contextlib
import logging
import logging.handlers
from pathlib import Path

from mountdl.control import systemd
from mountdl.control.text import shown
from mountdl.errors import UsageError, write_status

NOTICE = 25
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": NOTICE,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_MATTERS = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (NOTICE, 5), (logging.INFO, 6))
"""What a level is from which on in syslog(3); below all, 7."""
_SYSTEM = Path("/dev/log")


def set_up(file: Path | None, level: str, *, foreground: bool = False, system: bool = True) -> None:
    """Send messages from *level* ("debug" to "error") on to where they belong; without *file*, or *system*, nowhere.

    Raises UsageError when *file* can't be written.
    """
    logging.addLevelName(NOTICE, "NOTICE")
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(_handler(file, foreground=foreground, system=system))
    root.setLevel(logging.WARNING)
    logging.getLogger("mountdl").setLevel(_LEVELS[level])
    # A log that can't be written (a full disk) must not end up as tracebacks on standard error.
    logging.raiseExceptions = False


def _handler(file: Path | None, *, foreground: bool, system: bool) -> logging.Handler:
    handler: logging.Handler
    layout = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    if file is not None:
        try:
            handler = _Rotated(file)
        except OSError as error:
            raise UsageError(f"--log: {file} can't be written: {error.strerror}", write_status(error)) from error
    elif foreground and systemd.reads_lines():
        handler = logging.StreamHandler()
        handler.setFormatter(_Prefixing("%(name)s: %(message)s"))
        return handler
    elif foreground:
        handler = logging.StreamHandler()
    elif system and _SYSTEM.exists():
        handler, layout = _system(), "mountdl[%(process)d]: %(levelname)s %(name)s: %(message)s"
    else:
        handler = logging.NullHandler()
    handler.setFormatter(_Formatter(layout))
    return handler


def _system() -> logging.Handler:
    try:
        return _Syslog(str(_SYSTEM), logging.handlers.SysLogHandler.LOG_DAEMON)
    except OSError:
        return logging.NullHandler()


class _Syslog(logging.handlers.SysLogHandler):
    """Knows what a notice is, which Python's takes for a warning, and sends text without a byte of zero behind it."""

    priority_map = {**logging.handlers.SysLogHandler.priority_map, "NOTICE": "notice"}  # noqa: RUF012  # as there
    append_nul = False


class _Rotated(logging.handlers.WatchedFileHandler):
    """Begins its file anew where logrotate took it away."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*; lose it where the file can't be opened any more: no work of ours may end for that."""
        with contextlib.suppress(OSError):
            super().emit(record)


class _Formatter(logging.Formatter):
    """Escapes what could command a terminal or forge a line: names come from strangers."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        return shown(super().formatMessage(record))


class _Prefixing(_Formatter):
    """Says what the journal wants to know of each line, and no time, which it has."""

    def format(self, record: logging.LogRecord) -> str:
        """Return *record*, and a traceback below it, with how much it matters before each line."""
        matters = next((number for level, number in _MATTERS if record.levelno >= level), 7)
        return systemd.marked(super().format(record), matters)
