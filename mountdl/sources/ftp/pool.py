"""The sessions of all FTP mirrors: kept while they are of use, so that the next bytes need no new login.

Law: a session is with one fetch or idle here, never both. A data connection that stands where the next fetch
begins is worth more than a free session, that more than a new one.
"""

import math
from dataclasses import dataclass

import trio

from mountdl.sources.ftp.address import Login, Place
from mountdl.sources.ftp.opening import Way, opened
from mountdl.sources.ftp.session import Crowded, Means, Session

SKIP = 256 << 10
"""Bytes that are rather read over than jumped: a new data connection costs four to five round trips."""

_SCRATCH = 256 << 10
_TRANSFER_KEPT = 20.0
_SESSION_KEPT = 50.0
"""Seconds that an idle session is kept. Servers hang up after one to five minutes."""

_HUMBLE = 300.0
"""Seconds that a server that said 421 is believed."""


@dataclass(slots=True)
class Facts:
    """What is known of one server: it bears *allowed* connections until *until*; *open* are there."""

    open: int = 0
    allowed: int | None = None
    until: float = -math.inf

    def parallel(self, most: int, now: float) -> int:
        """How many transfers it bears now, of *most* that are allowed."""
        if self.allowed is None or now >= self.until:
            return most
        return max(1, min(most, self.allowed))


class Pool:
    """Gives sessions and takes them back."""

    def __init__(self, means: Means) -> None:
        self.means = means
        self._idle: dict[Login, list[Session]] = {}
        self._facts: dict[str, Facts] = {}
        self._ways: dict[Login, Way] = {}
        self.logins = 0
        self.scratch = memoryview(bytearray(_SCRATCH))

    def facts(self, login: Login) -> Facts:
        """Return what is known of the server of *login*."""
        return self._facts.setdefault(login.shown, Facts())

    async def lease(self, place: Place, offset: int, most: int) -> tuple[Session, bool]:
        """Return a session to read *place* from *offset* on, and whether it was used before.

        *most* connections are wanted to its server. Raises like `opened`.
        """
        found = self._fitting(place, offset, most)
        if found is not None:
            return found, True
        return await self.fresh(place.login), False

    async def fresh(self, login: Login) -> Session:
        """Return a new session. Raises like `opened`."""
        facts = self.facts(login)
        self.logins += 1
        facts.open += 1
        try:
            return await opened(login, self.means, self._ways)
        except BaseException as error:
            facts.open -= 1
            if isinstance(error, Crowded):
                self.crowded(login)
            raise

    def _fitting(self, place: Place, offset: int, most: int) -> Session | None:
        idle = self._idle.get(place.login, [])
        for session in [session for session in idle if not session.alive()]:
            idle.remove(session)
            self.drop(place.login, session)
        on_the_way = [session for session in idle if _leads_to(session, place.path, offset)]
        free = [session for session in idle if session.transfer is None]
        facts = self.facts(place.login)
        full = facts.open >= facts.parallel(most, trio.current_time())
        chosen = next(iter(on_the_way or free or (idle if full else [])), None)
        if chosen is not None:
            idle.remove(chosen)
        return chosen

    def give_back(self, login: Login, session: Session) -> None:
        """Take *session* in for whoever needs it next."""
        session.idle_since = trio.current_time()
        self._idle.setdefault(login, []).append(session)

    def drop(self, login: Login, session: Session) -> None:
        """Close *session*, which is with the caller."""
        session.close()
        self.facts(login).open -= 1

    def crowded(self, login: Login) -> None:
        """Note that the server of *login* wants no more connections than are open."""
        facts = self.facts(login)
        facts.allowed = max(1, facts.open)
        facts.until = trio.current_time() + _HUMBLE

    def tidy(self, now: float) -> None:
        """Close what is idle for too long."""
        for login, idle in self._idle.items():
            for session in list(idle):
                if now - session.idle_since >= _SESSION_KEPT:
                    idle.remove(session)
                    self.drop(login, session)
                elif now - session.idle_since >= _TRANSFER_KEPT:
                    session.stop()

    def close(self) -> None:
        """Close all that is idle."""
        self.tidy(math.inf)


def _leads_to(session: Session, path: bytes, offset: int) -> bool:
    transfer = session.transfer
    if transfer is None or transfer.path != path or transfer.stop is not None:
        return False
    return transfer.offset <= offset <= transfer.offset + SKIP
