"""Have small messages to peers go out at once.

libtorrent leaves its sockets to Nagle's algorithm (RFC 896): a request that follows another message, "interested" or
"have", waits until the peer acknowledges that, which takes its kernel 40 ms where it has nothing to say
(RFC 1122 section 4.2.3.2). No setting of libtorrent's changes that, so its sockets are found among the files that are
open. Law: an option of sockets is all that is changed, and what can't be changed stays as it is.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path

PAUSE = 0.2
"""Seconds from one look at all that is open to the next."""


class Promptness:
    """Looks for sockets that it did not know yet."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._looked_at = float("-inf")
        self._due = False

    def connected(self, now: float) -> None:
        """Take in that there is a new connection."""
        self._due = True
        self.look(now)

    def look(self, now: float) -> None:
        """Have new connections send at once, if there are any and the last look is a while ago."""
        if not self._due or now - self._looked_at < PAUSE:
            return
        self._due, self._looked_at = False, now
        with suppress(OSError):
            self._look()

    def _look(self) -> None:
        there = set()
        for place in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                link = str(place.readlink())
                if not link.startswith("socket:"):
                    continue
                there.add(link)
                if link not in self._known:
                    _prompt(int(place.name))
        self._known = there


def _prompt(number: int) -> None:
    """Have the socket *number* send at once; of another kind than TCP it says that it can't."""
    with suppress(OSError), socket.socket(fileno=os.dup(number)) as found:
        if found.type is socket.SOCK_STREAM and found.family in {socket.AF_INET, socket.AF_INET6}:
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
