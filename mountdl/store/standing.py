"""Whether all of a content is in its data file, asked of the disk alone, beside the process that has it open.

Law: bytes that were read between two equal answers are those that were stored. It takes no lock and changes nothing.
"""

import os
import time
from dataclasses import dataclass

from mountdl.errors import StoreError
from mountdl.extents import Extent
from mountdl.store import journal as journals
from mountdl.store import manifest as manifests
from mountdl.store.place import JOURNAL, MANIFEST, Place
from mountdl.store.recovery import weigh

_TICK = 0.02
"""Seconds: more than any kernel takes between two times that it gives files (10 ms with 100 ticks a second)."""
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Standing:
    """All *size* bytes are on record; the file was changed last at *changed_ns*.

    *holed*: there are holes in it, which are zeros on some file systems, and else bytes that went unrecorded.
    """

    size: int
    changed_ns: int
    holed: bool


def standing(place: Place, fd: int) -> Standing | None:
    """Say how the content in *place* stands, whose data file is open as *fd*; None where anything of it lacks.

    What goes is on record before it goes, and what comes after it came. For a worker thread, or a command.
    """
    try:
        found = os.fstat(fd)
        fresh = found.st_ctime + _TICK - time.time()
        if fresh > 0:
            time.sleep(min(fresh, _TICK))  # what changes it from now on shows
        if not _on_record(place, found.st_size):
            return None
        # A file system that knows no holes says that there is one behind the last byte.
        holed = found.st_size > 0 and os.lseek(fd, 0, os.SEEK_HOLE) < found.st_size
    except (OSError, StoreError):
        return None
    return Standing(found.st_size, found.st_ctime_ns, holed)


def settled(place: Place, fd: int) -> int | None:
    """Return how long the content in *place* is, open as *fd*, that nobody changes; None where anything of it lacks.

    Unlike `standing` it need not wait until a change would show.
    """
    try:
        size = os.fstat(fd).st_size
        return size if _on_record(place, size) else None
    except (OSError, StoreError):
        return None


def _on_record(place: Place, size: int) -> bool:
    """Say whether all *size* bytes of the content in *place* are on record as written."""
    for _ in range(_ATTEMPTS):
        version = place.version(MANIFEST)
        manifest, _ = manifests.load(place)
        told = place.read(JOURNAL, journals.LIMIT) or b""
        if manifest is not None:
            header = journals.header_for(journals.boot_id(), place.key, manifest.size, manifest.fingerprint)
        else:
            header = journals.own_header(told, journals.boot_id())
        reading = journals.parse(told, header, size)
        if version == place.version(MANIFEST):
            break  # else a checkpoint came between
    else:
        return False
    if manifest is not None and manifest.size != size:
        return False
    claims = weigh(manifest, reading, manifest.fingerprint if manifest is not None else "")
    return claims.written.covers(Extent(0, size))
