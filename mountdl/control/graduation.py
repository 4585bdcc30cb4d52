"""`--graduate DIR`: each file that becomes complete is handed out as a normal file below DIR.

Law: what is there already stays as it is; a file is handed out once in the life of a mount, its whole digest checked.
A failure is a line in the log, once, and it is tried again.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
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


PATIENCE = 30.0
"""Seconds that the end of a mount waits for what became complete a moment ago."""

AGAIN = 60.0
"""Seconds until a file that could not be handed out is tried again: the disk was full, or not there."""

_Named = tuple[PurePosixPath, ContentKey]


@asynccontextmanager
async def running(store: Path, target: Path, finished: Finished) -> AsyncIterator[None]:
    """Hand out while the context lasts, and at its end what is complete by then."""
    over = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, store, target, finished, over)
        yield
        over.set()
        nursery.cancel_scope.deadline = trio.current_time() + PATIENCE


async def run(store: Path, target: Path, finished: Finished, over: trio.Event) -> None:
    """Hand out what *finished* returns of the store in *store*, until cancelled, or once more when it is *over*."""
    done: set[_Named] = set()
    late: dict[_Named, _Late] = {}
    last = False
    while not last:
        with trio.move_on_after(LOOK):
            await over.wait()
        last, now = over.is_set(), trio.current_time()
        due = [(path, each.content) for (path, _), each in late.items() if each.due <= now]
        for path, content in [*finished(), *due]:
            named = (path, content.key)
            if named in done and (path, content) not in due:
                continue
            done.add(named)
            before = late.pop(named, None)
            try:
                how = await trio.to_thread.run_sync(_hand_out, store, target / path, content, abandon_on_cancel=True)
            except (MountdlError, OSError) as error:
                late[named] = _Late(content, trio.current_time() + AGAIN, str(error))
                if before is None or before.error != str(error):
                    log.warning("%s can't graduate, which is tried each minute: %s", path, error)
                continue
            if how is None:  # some of it had to make room: once it is complete again
                done.discard(named)
            else:
                log.info("%s graduated: %s", path, how)


@dataclass(frozen=True, slots=True)
class _Late:
    """A *content* that is handed out when it is *due* again, at the earliest, and why it was not."""

    content: Outline
    due: float
    error: str


def _hand_out(store: Path, target: Path, content: Outline) -> str | None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        return "it was there already"
    return handed_out(Place(store / "contents", content.key), content.full.digest, target, _ignored)


def _ignored(count: int) -> None:
    """Nobody watches *count*."""
