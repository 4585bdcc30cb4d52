"""`--graduate DIR`: each file that becomes complete is handed out as a normal file below DIR.

Law: what is there already stays as it is; a file is handed out once in the life of a mount, its whole digest checked.
A failure is a line in the log, and the next try is the next mount's.
"""

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

import trio

from mountdl.content import ContentKey, Outline
from mountdl.control.handing_out import handed_out
from mountdl.errors import MountdlError
from mountdl.store.place import Place

log = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between two looks at what has become complete."""

Finished = Callable[[], Iterable[tuple[PurePosixPath, Outline]]]
"""Returns the files that are complete among those that something was fetched for lately."""


async def run(store: Path, target: Path, finished: Finished) -> None:
    """Hand out what *finished* returns of the store in *store*, until cancelled."""
    done: set[tuple[PurePosixPath, ContentKey]] = set()
    while True:
        await trio.sleep(LOOK)
        for path, content in list(finished()):
            if (path, content.key) in done:
                continue
            done.add((path, content.key))
            try:
                how = await trio.to_thread.run_sync(_hand_out, store, target / path, content, abandon_on_cancel=True)
                if how is None:  # some of it had to make room: once it is complete again
                    done.discard((path, content.key))
                else:
                    log.info("%s graduated: %s", path, how)
            except (MountdlError, OSError) as error:
                log.warning("%s can't graduate: %s", path, error)


def _hand_out(store: Path, target: Path, content: Outline) -> str | None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        return "it was there already"
    return handed_out(Place(store / "contents", content.key), content.full.digest, target, _ignored)


def _ignored(count: int) -> None:
    """Nobody watches *count*."""
