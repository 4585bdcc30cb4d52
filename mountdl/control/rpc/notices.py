"""What is told to those who listen, when something becomes of a file. Pure."""

from mountdl.control.rpc.rows import ACTIVE, COMPLETE, ERROR, PAUSED, REMOVED

EVENTS = (
    "onDownloadStart",
    "onDownloadPause",
    "onDownloadStop",
    "onDownloadComplete",
    "onDownloadError",
    "onBtDownloadComplete",
)


def events(before: str | None, after: str, *, torrent: bool) -> tuple[str, ...]:
    """Return what happened to one whose status was *before*, None for one that was not there, and is *after*."""
    if before == after:
        return ()
    if after == ACTIVE:
        return ("onDownloadStart",)
    if before is None:
        return ()
    if after == PAUSED:
        return ("onDownloadPause",)
    if after == REMOVED:
        return () if before in {COMPLETE, ERROR} else ("onDownloadStop",)
    if after == COMPLETE:
        return ("onBtDownloadComplete", "onDownloadComplete") if torrent else ("onDownloadComplete",)
    return ("onDownloadError",) if after == ERROR else ()
