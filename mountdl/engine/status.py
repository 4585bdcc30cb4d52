"""What the engine tells of itself, as frozen values, and what commands make of it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mountdl.errors import ExitStatus
from mountdl.sources.tunnel import UNRESOLVED


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A source as `mountdl status` shows it. *rate* in bytes a second of one connection."""

    name: str
    state: str
    flights: int
    rate: float
    delivered: int
    failures: int
    bad_chunks: int
    reason: str | None

    @classmethod
    def unused(cls, name: str) -> "SourceStatus":
        """Return what is to be said of one that nothing was asked of yet."""
        return cls(name, "idle", 0, 0.0, 0, 0, 0, None)


@dataclass(frozen=True, slots=True)
class DownloadStatus:
    """A content as `mountdl status` shows it. Bytes, and bytes a second."""

    size: int
    verified: int
    written: int
    state: str
    rate: float
    readers: int
    sources: tuple[SourceStatus, ...]
    error: str | None


def state_of(error: str | None, *, complete: bool, active: bool, waiting: bool) -> str:
    """Return the word for a content: *active* if bytes come or are judged, *waiting* if only readers are there."""
    if complete:
        return "complete"
    if active:
        return "active"
    if waiting:
        return "waiting"
    return "error" if error else "idle"


_STATUSES = (
    (re.compile(f"{UNRESOLVED}|the name .* is not known"), ExitStatus.NAME_NOT_RESOLVED),
    (re.compile("answered 401|.* wants? a user name|login is refused|.* accepts no key"), ExitStatus.AUTHORISATION),
    (re.compile("answered (404|410|550)|there is no such file"), ExitStatus.NOT_FOUND),
    (re.compile("sent wrong bytes"), ExitStatus.CHECKSUM),
    (re.compile(r".* within [\d.]+ s|silent for |.* in time$|slower than "), ExitStatus.TIMEOUT),
)
"""What the reasons of sources begin with, of which a command has a status of its own."""


def status_of(reasons: Iterable[str], otherwise: ExitStatus) -> ExitStatus:
    """Return the status of a command that failed for *reasons* of sources, if all have the same one of their own."""
    found = {next((status for begins, status in _STATUSES if begins.match(each)), otherwise) for each in reasons}
    return found.pop() if len(found) == 1 else otherwise
