"""Read one descriptor file and decide what to show for it.

Law: a descriptor that can't be used is shown as refused only on evidence. One that is still being
written, or that an error of the disk or network keeps from us, stays as it was.
"""

import errno
import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from mountdl.catalog.document import Document, date_of
from mountdl.catalog.kept import Shelf, kept
from mountdl.catalog.scan import UNKNOWN, Stamp
from mountdl.descriptors.limits import MAX_DOCUMENT
from mountdl.descriptors.model import Descriptor
from mountdl.errors import DescriptorError

log = logging.getLogger(__name__)

RETRY = 5.0
"""Seconds until a file that could not be reached is tried again."""

Parse = Callable[[str, bytes], Descriptor]
"""Name and bytes of a descriptor to what it says; raises DescriptorError."""

# Errors that tell something about the file; all others are about the way to it.
_ABOUT_THE_FILE = frozenset({errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading a file: *document* is None when it is no descriptor (gone, or no regular file)."""

    stamp: Stamp
    document: Document | None
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a file: *document* is what to show for it.

    *stamp* is None when it has to be read again in any case, *again* in how many seconds to do that.
    """

    stamp: Stamp | None
    document: Document | None
    again: float | None = None

    @property
    def refused(self) -> bool:
        """Whether it is shown as an error."""
        return self.document is not None and isinstance(self.document.said, DescriptorError)


def read(path: str, relative: str, parse: Parse, shelf: Shelf | None = None) -> Reading:
    """Read and parse the file at *path*, known as *relative* below the source. Raises nothing.

    What a *shelf* can take of what it says is set aside there.
    """
    try:
        stamp, data = _load(path)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return Reading(UNKNOWN, None)
        stamp = _stamp(path)
        refusal = DescriptorError("unreadable", f"it can't be read: {error.strerror}")
        return Reading(stamp, Document(relative, stamp.mtime_ns, refusal), error.errno not in _ABOUT_THE_FILE)
    if data is None:
        return Reading(stamp, None)
    name = relative.rpartition("/")[2]
    said = _parse(parse, name, data)
    if shelf is None or isinstance(said, DescriptorError) or (aside := kept(name, said, shelf)) is None:
        return Reading(stamp, Document(relative, stamp.mtime_ns, said))
    # A tuple of one takes 64 bytes, and most descriptors are of one file.
    return Reading(stamp, Document(relative, date_of(said, stamp.mtime_ns), aside[0] if len(aside) == 1 else aside))


def _load(path: str) -> tuple[Stamp, bytes | DescriptorError | None]:
    """Return stamp and bytes of a file: a refusal in their place for one too large, None for no regular file."""
    # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        info = os.fstat(descriptor)
        stamp = Stamp.of(info)
        if not stat.S_ISREG(info.st_mode):
            return stamp, None
        if info.st_size > MAX_DOCUMENT:
            return stamp, DescriptorError("too-large", f"it is larger than {MAX_DOCUMENT >> 20} MiB")
        # No more than it had when it was stamped: what is added later comes with another stamp.
        return stamp, _bytes(descriptor, info.st_size)
    finally:
        os.close(descriptor)


def _bytes(descriptor: int, size: int) -> bytes:
    """Return the first *size* bytes of an open file, or what there is. Without a file object: 8 us less for each."""
    data = os.read(descriptor, size)
    if len(data) in {0, size}:
        return data
    parts, left = [data], size - len(data)
    while left and (data := os.read(descriptor, left)):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def _stamp(path: str) -> Stamp:
    try:
        return Stamp.of(os.stat(path))  # noqa: PTH116
    except OSError:
        return UNKNOWN


def _parse(parse: Parse, name: str, data: bytes | DescriptorError) -> Descriptor | DescriptorError:
    if isinstance(data, DescriptorError):
        return data
    try:
        return parse(name, data)
    except DescriptorError as error:
        # Another one, because the traceback of this one keeps the file's bytes alive.
        again = DescriptorError(error.kind, str(error))
        again.exit_status = error.exit_status
        return again
    except Exception:
        log.exception("parsing %s failed in a way that is a bug of mountdl", name)
        return DescriptorError("unsupported", "mountdl failed to read it; please report this with the file")


def judge(earlier: Known | None, reading: Reading, now: float, settle: float) -> Known:
    """Decide what to show for a file after *reading* it.

    *now* is Unix time; one that changed less than *settle* seconds ago may be still being written.
    """
    document = reading.document
    shown = None if earlier is None else earlier.document
    if document is None or not isinstance(document.said, DescriptorError):
        return Known(reading.stamp, document)
    if reading.unreachable:
        return Known(None, shown or document, RETRY)
    # The clock that dates a file may be another machine's, so a date a little in the future counts too.
    age = now - document.mtime_ns / 1e9
    if abs(age) < settle:
        return Known(None, shown, settle - age)
    return Known(reading.stamp, document)
