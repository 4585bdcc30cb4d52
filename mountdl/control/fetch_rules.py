"""What a fetch decides of one file, and what it says then. Pure, but for a look at a name."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from mountdl.catalog.tree import Expected, File, Note
from mountdl.content import Content, Level
from mountdl.control import text
from mountdl.control.text import shown
from mountdl.engine.status import DownloadStatus
from mountdl.errors import ExitStatus, MountdlError, StoreFrozen, StoreFull, UsageError
from mountdl.integrity import Digest, strength
from mountdl.store.glances import Space

GIVE_UP = 20.0
"""Seconds for which files are asked for again, a few times, of whose length no server answered at all."""
MAGNETS = 3.0
"""Seconds for which files wait for magnet links beside them, which may have a say in their names."""

_MORE_ROOM = "make room, and the same command goes on"


def may_come(node: File | Note) -> bool:
    """Say whether peers may tell at any time what *node* stands for."""
    return isinstance(node, Note) and node.expected is Expected.PEERS


def patience(asked: Sequence[Note], unreached: int) -> float:
    """Return for how many seconds more than now *asked* are waited for, of which *unreached* got no answer at all.

    As long as a server is asked for the first time, or something comes from it, there is no end.
    """
    if not asked or any(each.expected in (Expected.SERVERS, Expected.BYTES) for each in asked):
        return math.inf
    if all(may_come(each) for each in asked):
        return MAGNETS
    return GIVE_UP if unreached else MAGNETS if any(may_come(each) for each in asked) else 0.0


def certain(nodes: Sequence[File | Note], asked: Sequence[Note]) -> list[File]:
    """Return the files of *nodes* whose names none of *asked* may take from them: those that they stand for come first.

    A magnet link may turn out to have files of any name, and a server may call its file as another did.
    """
    if any(may_come(each) for each in asked):
        return []
    wanted = {(each.parent, each.name.removesuffix(".resolving")) for each in asked}
    open_folders = {each.parent for each in asked if each.unnamed}
    files = [each for each in nodes if isinstance(each, File) and not (each.called and each.parent in open_folders)]
    renamed = {each.inode for each in files if any(caution.code == "renamed" for caution in each.cautions)}
    return [each for each in files if (each.parent, each.name) not in wanted and each.inode not in renamed]


def refuse_crowded(missing: int, space: Space, others: Sequence[DownloadStatus], directory: Path) -> None:
    """Raise UsageError when the disk of *directory* has no room for *missing* bytes beside what *others* lack."""
    room = max(0, space.available - sum(each.size - each.written for each in others))
    if missing <= room or not space.total:  # some file systems don't tell
        return
    beside = " beside what is on its way" if others else ""
    has = f"the disk of {shown(directory)} has room for {text.size(room)}{beside}"
    raise UsageError(f"{text.size(missing)} are yet to come, and {has}; {_MORE_ROOM}", ExitStatus.DISK_FULL)


def taken_by_another(content: Content) -> UsageError:
    """Return what is said where the name of *content* is that of another file."""
    wanted = content.digest or ("the one of its pieces" if content.chunk_map.algorithm else None)
    wanted = wanted or f"this one of {content.size} bytes"
    return UsageError(f"this name is taken by another file than {wanted}: move that away", ExitStatus.CHECKSUM)


def unjudged(content: Content) -> Digest | None:
    """Return the digest by which all of *content*, which is complete, has yet to be judged, if there is one.

    Pieces that matched digests as strong leave nothing to find out, and to read it once more takes as long as a fast
    mirror took for it.
    """
    digest, pieces = content.digest, content.chunk_map.algorithm
    if digest is None or pieces is None or content.level is not Level.CHUNK:
        return None  # it has none, or was judged by it
    return digest if strength(pieces) < strength(digest.algorithm) else None


def with_remedy(error: MountdlError, status: DownloadStatus) -> MountdlError:
    """Return *error*, which ends a download, with what is missing and what to do where the disk is full."""
    if not isinstance(error, StoreFull) or isinstance(error, StoreFrozen):
        return error
    missing = f"{text.size(status.size - status.written)} of {text.size(status.size)} are yet to come"
    return StoreFull(f"{error}, and {missing}; {_MORE_ROOM}")


def refuse_half(target: Path) -> None:
    """Raise UsageError where aria2 is not done with *target*: that may be as long as it will be from the start."""
    beside = f"{target.name}.aria2"
    if os.path.lexists(target.with_name(beside)):
        raise UsageError(f"aria2 has yet to end it: {shown(beside)} is beside it; move both away")
