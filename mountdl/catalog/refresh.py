"""Keep dynamic metalinks as their origins have them (RFC 5854 sections 4.2.7 and 4.2.9).

Law: a refresh never makes a descriptor worse. What can't be had, is no metalink or about other files leaves the
last good one. It is polite: one document at a time, each seldom. What asks is injected: this module knows
neither network nor files.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

import trio

from mountdl.catalog.document import Document
from mountdl.descriptors.learned import renewed
from mountdl.descriptors.model import Descriptor
from mountdl.errors import MountdlError
from mountdl.sources.base import Version

log = logging.getLogger(__name__)

Reload = Callable[[str, Version | None], Awaitable[tuple[Descriptor | None, Version]]]
"""Ask a URL for a descriptor: None where it is still of the version given. Raises MountdlError."""

FIRST = 2.0
"""Seconds until a descriptor that is new here is compared with its origin: a file may have lain for years."""
INTERVAL = 6 * 3600.0
"""Seconds between two looks at one origin."""
RETRY = 900.0
"""The same after one that failed, twice as long after each that fails too: an outage is mostly short."""
LONGEST_RETRY = 24 * 3600.0
PAUSE = 1.0
"""Seconds between any two looks."""


@dataclass(slots=True)
class _Followed:
    """A document as its file has it, as it is shown, and when to ask its origin again."""

    original: Document
    shown: Document
    due: float
    retry: float = RETRY
    version: Version | None = None


class Refresher:
    """Asks origins by *reload*; *changed* is called when a document is to be shown otherwise."""

    def __init__(self, reload: Reload, changed: Callable[[], None]) -> None:
        self._reload, self._changed = reload, changed
        self._followed: dict[str, _Followed] = {}
        self._wake = trio.Event()

    def shown(self, document: Document) -> Document:
        """Return *document* as its origin has it, as far as that is known."""
        known = self._followed.get(document.path)
        return known.shown if known is not None and known.original is document else document

    def follow(self, documents: Mapping[str, Document]) -> None:
        """Compare those of *documents*, by path, that are dynamic with their origins from now on, and no others."""
        followed: dict[str, _Followed] = {}
        for path, document in documents.items():
            if origin_of(document) is None:
                continue
            known = self._followed.get(path)
            if known is None or known.original is not document:
                known = _Followed(document, document, trio.current_time() + FIRST)
            followed[path] = known
        self._followed = followed
        self._wake.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            self._wake = trio.Event()
            next_one = min(self._followed.values(), key=lambda each: each.due, default=None)
            with trio.move_on_at(math.inf if next_one is None else next_one.due):
                await self._wake.wait()
                continue
            if next_one is not None:
                await self._refresh(next_one)
                await trio.sleep(PAUSE)

    async def _refresh(self, followed: _Followed) -> None:
        origin = origin_of(followed.original)
        said = followed.shown.said
        assert origin is not None and isinstance(said, Descriptor)  # noqa: S101, PT018  # others are not followed
        try:
            fresh, followed.version = await self._reload(origin, followed.version)
            better = said if fresh is None else renewed(said, fresh)
        except MountdlError as error:
            log.info("%s stays as it is: %s", followed.original.path, error)
            wait, followed.retry = followed.retry, min(followed.retry * 2, LONGEST_RETRY)
        except Exception:
            log.exception("refreshing %s failed in a way that is a bug of mountdl", followed.original.path)
            wait = LONGEST_RETRY
        else:
            wait, followed.retry = INTERVAL, RETRY
            if better != said:
                log.info("%s is renewed by its origin", followed.original.path)
                followed.shown = replace(followed.shown, said=better)
                self._changed()
        followed.due = trio.current_time() + wait


def origin_of(document: Document) -> str | None:
    """Return where *document* may be asked for again; None where it does not say that it changes."""
    said = document.said
    return said.origin if isinstance(said, Descriptor) and said.dynamic else None
