"""What the engine tells of itself, as frozen values."""

from dataclasses import dataclass


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
