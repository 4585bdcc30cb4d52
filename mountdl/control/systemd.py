"""What systemd is told, where it started us: how the service is, and how much a line on standard error matters."""

import contextlib
import os
import socket

ERROR, WARNING, NOTICE = 3, 4, 5
"""How much something matters, syslog(3)."""


def notify(message: str) -> None:
    """Tell systemd *message* ("READY=1"), where it asked to be told (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] in {"/", "@"}:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(message.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)


def watchdog() -> float | None:
    """Return after how many seconds without "WATCHDOG=1" systemd takes us for hung; None: never.

    As sd_watchdog_enabled(3) reads it.
    """
    own = str(os.getpid())
    given = os.environ.get("WATCHDOG_USEC", "") if os.environ.get("WATCHDOG_PID", own) == own else ""
    return int(given) / 1e6 if given.isdecimal() and int(given) > 0 else None


def reads_lines() -> bool:
    """Say whether standard error leads to systemd's log: systemd.exec(5), JOURNAL_STREAM."""
    given = os.environ.get("JOURNAL_STREAM")
    if not given:
        return False
    try:
        stream = os.fstat(2)
    except OSError:
        return False
    return given == f"{stream.st_dev}:{stream.st_ino}"


def line(text: str, matters: int) -> str:
    """Return *text* as it is to be written to standard error: for systemd's log with how much it *matters*."""
    return marked(text, matters) if reads_lines() else text


def marked(text: str, matters: int) -> str:
    """Return *text* with how much it *matters* before each line, sd-daemon(3)."""
    return "\n".join(f"<{matters}>{each}" for each in text.split("\n"))
