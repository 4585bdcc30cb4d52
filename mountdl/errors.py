"""Every exception that crosses a border inside mountdl.

    MountdlError
    ├ DescriptorError(kind)              skip the descriptor, show why in its place
    ├ SourceError(source, reason)        another source may do
    │  ├ SourceUnavailable(retry_after)  back off, try it again later
    │  ├ SourceRefused                   drop it for this content
    │  └ SourceMismatch                  it has other bytes than the ones described: drop it
    ├ StoreError
    │  ├ StoreFull                       no room on the disk of the cache
    │  │ ├ StoreCrowded                  none for bytes that nobody waits for: fetch only what somebody does
    │  │ └ StoreFrozen                   it takes no bytes at all, whatever made room for them
    │  ├ StoreDamaged                    what is on disk is not what was put there
    │  └ StoreBusy                       another process has this content open
    ├ ContentUnavailable                 no source is left, or none answered in time: EIO
    │ ├ ContentUnreachable               nobody answers at all: ask again soon, it may be the network
    │ └ ContentUntold                    nobody here can be asked what it is: don't wait for that
    ├ ContentChanged                     every source has another content now: ESTALE
    └ UsageError(exit_status)            what the user asked for can't be done

One leaf for each reaction. Exceptions of foreign libraries are turned into these where they arise
(`raise ... from ...`) and never travel further.
"""

import errno
from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit statuses of the commands: aria2's (its manual, section EXIT STATUS)."""

    OK = 0
    UNKNOWN = 1
    TIMEOUT = 2
    NOT_FOUND = 3
    DISK_FULL = 9
    IO = 17
    NAME_NOT_RESOLVED = 19
    BAD_METALINK = 20
    AUTHORISATION = 24
    BAD_TORRENT = 26
    BAD_MAGNET = 27
    BAD_OPTION = 28
    CHECKSUM = 32


def write_status(error: OSError) -> ExitStatus:
    """Return the status of a command that ends because a file can't be made or written."""
    return ExitStatus.DISK_FULL if error.errno in {errno.ENOSPC, errno.EDQUOT} else ExitStatus.IO


class MountdlError(Exception):
    """The root of the tree; its text is a sentence for the user."""

    exit_status: ExitStatus = ExitStatus.UNKNOWN


class DescriptorError(MountdlError):
    """A descriptor that can't be used; *kind* is one of the codes that `mountdl inspect` documents."""

    exit_status = ExitStatus.BAD_METALINK

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class SourceError(MountdlError):
    """A source did not deliver; *reason* is a short phrase for status and log."""

    exit_status = ExitStatus.IO

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


class SourceUnavailable(SourceError):
    """It may deliver later: time-outs, resets, 5xx, 429. Back off at least *retry_after* seconds if given."""

    def __init__(self, source: str, reason: str, retry_after: float | None = None) -> None:
        super().__init__(source, reason)
        self.retry_after = retry_after


class SourceRefused(SourceError):
    """It will not deliver this content (404, 410, bad URL, untrusted certificate): drop it."""


class SourceMismatch(SourceError):
    """It has other bytes than described (size, validator, framing that lies): drop it."""


class StoreError(MountdlError):
    """The store on disk failed."""

    exit_status = ExitStatus.IO


class StoreFull(StoreError):
    """The disk that holds the store has no room left."""

    exit_status = ExitStatus.DISK_FULL


class StoreCrowded(StoreFull):
    """There is no room left, and nobody waits for these bytes; what a reader waits for can still be had."""


class StoreFrozen(StoreFull):
    """The disk takes no bytes, and gives no room back: it became read-only, or it fails."""

    exit_status = ExitStatus.IO


class StoreDamaged(StoreError):
    """What the disk gave back is not what was stored; discard it and fetch it again."""


class StoreBusy(StoreError):
    """Another process has this content open."""


class ContentUnavailable(MountdlError):
    """Bytes that a reader wants can't be had: its text says which sources answered what."""

    exit_status = ExitStatus.IO


class ContentUnreachable(ContentUnavailable):
    """None of its sources answers: what is wrong may be on our side."""


class ContentUntold(ContentUnavailable):
    """Only peers know what it is, and none can be asked here."""


class ContentChanged(MountdlError):
    """Every source now has another content than the descriptor says."""

    exit_status = ExitStatus.CHECKSUM


class UsageError(MountdlError):
    """The user's request can't be carried out; the text says what to do instead."""

    def __init__(self, message: str, exit_status: ExitStatus = ExitStatus.BAD_OPTION) -> None:
        super().__init__(message)
        self.exit_status = exit_status
