"""Who is connected to a server, and who gives way when there are too many."""

import contextlib
from collections.abc import Iterator

import trio


class Crowd:
    """Who is connected. Law: one more than *most* takes the place of who has said nothing for the longest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.busy: set[trio.CancelScope] = set()
        self._idle: dict[trio.CancelScope, None] = {}

    def enter(self, client: trio.CancelScope) -> bool:
        """Give *client* a place, idle; say whether there is one."""
        if len(self.busy) >= self._most:
            return False
        if len(self.busy) + len(self._idle) >= self._most:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.cancel()
        self._idle[client] = None
        return True

    def leave(self, client: trio.CancelScope) -> None:
        """Take the place of *client* back."""
        self._idle.pop(client, None)
        self.busy.discard(client)

    @contextlib.contextmanager
    def answering(self, client: trio.CancelScope) -> Iterator[None]:
        """Keep *client* its place while it is answered."""
        self._idle.pop(client, None)
        self.busy.add(client)
        yield
        self.busy.discard(client)
        self._idle[client] = None
